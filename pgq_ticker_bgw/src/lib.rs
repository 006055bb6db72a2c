//! PgQ's background worker, linked into `pgq.so`.
#![deny(unsafe_code)]
