//! Who must not become more than they are: attacks, each beside the healthy case.

mod client;
mod revoked;
mod search_path;
mod worker;
