//! Tests of the fence that only a server can run.
//!
//! Each `#[pg_test]` is a function of an extension that stands beside PgQ's and has nothing of its
//! SQL, and a Rust test that calls it in a transaction of its own, which is rolled back. The server
//! preloads the library, for shared memory and background workers.

mod call;
mod copy;
mod fdw;
mod heap;
mod hostile;
mod memory;
mod piece;
mod remote;
mod scan;
mod scenario;
mod server;
mod sql;
mod table;
mod watch;

pgq_pg::library!(init);

fn init() {
    server::init();
    scenario::register(vec![
        piece::SCENARIOS,
        hostile::SCENARIOS,
        copy::SCENARIOS,
        fdw::SCENARIOS,
        watch::SCENARIOS,
    ]);
}

/// What pgrx's framework asks of a crate with tests.
#[cfg(test)]
pub mod pg_test {
    /// Nothing to set up.
    pub fn setup(_options: Vec<&str>) {}

    /// Settings of the server.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec!["shared_preload_libraries = 'pgq_pg_tests'", "fsync = off"]
    }
}
