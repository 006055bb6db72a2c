//! `walmgr`, its small client and its archive library.

mod adopt;
mod archive;
mod as_it_is;
mod astray;
mod backup;
mod beside_segments;
mod copying;
pub(super) mod daemon;
mod databases;
mod durability;
mod encryption;
mod expire;
mod full_disk;
mod history;
mod hostile;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod independent;
mod init;
mod library;
mod limits;
mod messages;
mod metrics;
mod nothing_written;
mod object_credentials;
mod object_lock;
mod objects;
mod peer;
mod pins;
mod promotion;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod push;
mod recovery;
mod several;
mod ssh;
mod standby;
mod sync;
mod syslog;
mod tls;
mod tls_program;
mod units;
mod upgrade;
