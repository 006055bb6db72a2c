//! The pure half of PgQ: everything that can be decided or computed without a server.
#![forbid(unsafe_code)]

pub mod capture;
pub mod cron;
pub mod encode;
pub mod key_slot;
pub mod listing;
pub mod snapshot;
pub mod window;
pub mod window_sql;
