//! Replication of tables through a cascade, by the worker of program `pgq`.

/// A test of each scenario with each kind of worker.
macro_rules! by_both {
    ($($scenario:ident,)*) => {
        mod by_program {
            $(
                #[test]
                fn $scenario() {
                    super::$scenario(super::Driver::Program);
                }
            )*
        }
        mod in_server {
            $(
                #[test]
                fn $scenario() {
                    super::$scenario(super::Driver::Server);
                }
            )*
        }
    };
}

mod busy;
mod by_sql;
mod copies;
mod crashes;
mod die_anywhere;
mod ends;
mod events;
mod in_server;
mod intruders;
mod keys;
mod names;
mod promotion;
mod scripts;
mod secrets;
mod set;
mod status;
mod workers;
