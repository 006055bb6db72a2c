//! What a job may do instead of serving.

/// An order about the consumer's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Order {
    /// Register it.
    Register,
    /// Unregister it.
    Unregister,
    /// Move it back to where the target is.
    Rewind,
    /// Forget where the target is.
    Reset,
}
