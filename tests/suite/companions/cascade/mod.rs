//! Cascades over several databases. The tests play the workers and the administrator.

mod failover;
mod set;
mod sites;
mod switchover;
mod worker;
