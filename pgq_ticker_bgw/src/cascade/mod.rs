//! Replication inside the server: for each node that asked for it (`londiste.start_worker`) a
//! process that does what [`pgq_replica::cascade::drive`] says, and one for each table that is
//! copied.
//!
//! * The database's pgq worker starts the workers of its database, again after they failed, and
//!   ends them ([`crew`]); a worker starts those of its copies. When the pgq worker itself fails,
//!   copies go on: the next worker finds them by a lock that each of them has ([`right`]).
//! * Such a process is a session of the role that asked, in the node's database ([`here`]), and
//!   has one connection to the provider, which it waits for on its latch ([`there`]); where that
//!   is, and by whose password, is decided in [`provider`].

mod children;
mod copier;
pub(crate) mod crew;
mod errors;
mod here;
mod host;
mod order;
mod outage;
mod problem;
mod provider;
mod right;
mod session;
mod there;
mod wish;
mod worker;

pub(crate) use self::copier::main as copier_main;
pub use self::provider::{HARMLESS, is_of_place};
pub(crate) use self::worker::main as worker_main;
