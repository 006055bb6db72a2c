//! What walmgr knows of a PostgreSQL server: its files, and what it answers to SQL.

pub(crate) mod backup;
pub(crate) mod control;
pub(crate) mod page;
pub(crate) mod running;
pub(crate) mod settings;
pub(crate) mod signal;
pub(crate) mod sql;
pub(crate) mod standby;
pub(crate) mod transport;
