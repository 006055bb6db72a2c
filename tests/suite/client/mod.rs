//! `pgq_client` and the `pgq` program.

mod asynchronous;
mod batch_gone;
mod commands;
mod consumer;
mod copy;
mod full_disk;
mod kill;
mod looking;
mod messages;
mod once;
mod outage;
mod pool_modes;
mod pooled_slots;
mod pooler;
mod producer;
mod python;
mod python_module;
mod read_only;
mod recipes;
mod screen;
mod service_kinds;
pub(crate) mod services;
mod stop;
mod transfer;
