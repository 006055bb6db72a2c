//! Ticks on demand: a tick as soon as there is a committed event and somebody who waits.

pub(crate) mod demand;
pub(crate) mod lay;
