//! Who must not become more than they are: attacks, each beside the healthy case.

mod client;
mod locks;
mod maintenance;
mod names;
mod revoked;
mod search_path;
mod worker;
