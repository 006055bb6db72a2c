//! Restoring a backup: choose it ([`select`], [`locate`], [`lead`]), make room ([`place`]), bring
//! its files ([`files`]), and tell the server how to recover ([`settings`]).
//!
//! The control file goes first and comes last: a directory that is only partly restored cannot be
//! started.

pub(crate) mod beneath;
pub(crate) mod databases;
pub(crate) mod files;
pub(crate) mod lead;
pub(crate) mod locate;
pub(crate) mod marker;
pub(crate) mod place;
pub(crate) mod select;
pub(crate) mod settings;
pub(crate) mod target;
