//! Who must not become more than they are: attacks, each beside the healthy case.

mod client;
mod search_path;
