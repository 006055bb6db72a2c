//! What PostgreSQL's WAL files are called and look like.

pub(crate) mod file;
pub(crate) mod header;
pub(crate) mod history;
pub(crate) mod lsn;
pub(crate) mod name;
pub(crate) mod records;
