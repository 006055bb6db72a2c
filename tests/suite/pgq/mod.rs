//! Extension `pgq`: its SQL contract, delivery, updates from older releases.

mod consumers;
mod delivery;
mod dump_restore;
mod encodings;
mod errors;
mod hints;
mod jit;
mod messages;
mod old_schema;
pub(crate) mod peer;
mod roles;
mod sessions;
mod signatures;
mod ticker;
pub(crate) mod upgrade;
