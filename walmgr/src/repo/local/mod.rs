//! A repository in a directory.
//!
//! Everything happens relative to one open descriptor of the directory in which the marker file was
//! seen, so a file system that is not mounted, or goes away, can never look like an empty
//! repository. How objects come into being is in [`create`]; a name stands for whole content, for
//! ever.

mod create;
mod directory;
mod store;

pub(crate) use directory::LocalStore;
