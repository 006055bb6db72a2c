//! Replication of tables through a cascade, by the worker of program `pgq`.

mod copies;
mod die_anywhere;
mod events;
mod keys;
mod names;
mod promotion;
mod scripts;
mod set;
mod workers;
