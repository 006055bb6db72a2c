//! The integration suite: one binary, one module per concern.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "in a test a failed step is a failed test, and small numbers convert"
)]

mod capture;
mod cascade;
mod client_batch_gone;
mod client_commands;
mod client_consumer;
mod client_copy;
mod client_full_disk;
mod client_kill;
mod client_looking;
mod client_once;
mod client_outage;
mod client_pooler;
mod client_producer;
mod client_program;
mod client_python;
mod client_read_only;
mod client_screen;
mod client_service_kinds;
mod client_services;
mod client_stop;
mod client_transfer;
mod companions;
mod compat_pgqd;
mod coop;
mod coop_processes;
mod delivery;
mod encodings;
mod ext;
mod first_steps;
mod harness;
mod jit;
mod node;
mod old_schema;
mod packaging;
mod pgq_consumers;
mod pgq_dump_restore;
mod pgq_errors;
mod pgq_hints;
mod pgq_peer;
mod pgq_roles;
mod pgq_signatures;
mod pgq_ticker;
mod pgq_upgrade;
mod query;
mod race;
mod security;
mod upgrade;
mod walmgr_adopt;
mod walmgr_archive;
mod walmgr_as_it_is;
mod walmgr_backup;
mod walmgr_beside_segments;
mod walmgr_daemon;
mod walmgr_durability;
mod walmgr_expire;
mod walmgr_full_disk;
mod walmgr_history;
mod walmgr_hostile;
mod walmgr_init;
mod walmgr_library;
mod walmgr_messages;
mod walmgr_nothing_written;
mod walmgr_peer;
mod walmgr_promotion;
#[cfg(target_arch = "x86_64")]
mod walmgr_push;
mod walmgr_recovery;
mod walmgr_s3;
mod walmgr_s3_server;
mod walmgr_ssh;
mod walmgr_standby;
mod walmgr_support;
mod walmgr_sync;
mod walmgr_syslog;
mod with_pauses;
mod worker;
