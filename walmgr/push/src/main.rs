//! `walmgr-push --config FILE archive-push PATH`: the server's `archive_command` while a walmgr
//! daemon runs.
//!
//! PostgreSQL starts one process for each WAL file and waits for it, so with small segments
//! starting the process is most of the cost. This one asks the daemon and ends, and needs nothing
//! for that but ten system calls: no C library, no loader, no allocation. On a virtual machine that
//! counts double, since the C library asks the processor about its caches at every start (`cpuid`),
//! and each question leaves the virtual machine.
//!
//! Anything but the daemon's plain "stored" makes it become `walmgr`, the program beside it, with
//! the same arguments: no daemon, a failure, a command line or a path that is out of the ordinary.
//! What `walmgr` promises therefore holds here too, exit codes included.
#![no_std]
#![no_main]

mod system;

use core::ffi::CStr;

use system::{Connection, Process};

/// Name of the daemon's socket in the server's data directory, where commands of the server run.
const SOCKET: &[u8] = b"walmgr.sock";
/// What only a data directory has: a socket that lies anywhere else is none of this server's.
const CONTROL: &CStr = c"global/pg_control";
/// How many milliseconds the daemon may give no sign of life, and how many signs of life, one a
/// second, it may give before its answer. Then walmgr sees to it, lest a daemon that hangs keep the
/// server from archiving, and from stopping.
const SILENCE: usize = 5000;
const PATIENCE: usize = 30;
/// What the daemon says of a file that is durable in the repository.
const STORED: &[u8] = b"\"Done\"\n";
/// What it says while it is at it.
const BUSY: &[u8] = b"\"Busy\"\n";

fn main(process: &Process) -> u8 {
    if is_stored(process) == Some(true) {
        return 0;
    }
    let mut place = Text::default();
    let Some(program) = place.fill(system::own_path).and_then(|own| own.strip_suffix(b"-push"))
    else {
        return fail(b"this program must be called walmgr-push and lie beside walmgr");
    };
    let mut path = Text::default();
    if path.push(program).is_some() && path.push(b"\0").is_some() {
        system::execute(path.bytes(), process);
    }
    fail(b"cannot run walmgr, which must lie beside walmgr-push")
}

/// Ask the daemon; `None` when it cannot be asked.
fn is_stored(process: &Process) -> Option<bool> {
    let mut arguments = process.arguments().skip(1);
    if arguments.next()? != b"--config" {
        return None;
    }
    let config = arguments.next()?;
    if arguments.next()? != b"archive-push" {
        return None;
    }
    let path = arguments.next()?;
    if arguments.next().is_some() {
        return None;
    }
    let mut request = Text::default();
    request.push(br#"{"config":""#)?;
    request.push_plain(config)?;
    request.push(br#"","verb":"Push","name":""#)?;
    request.push_plain(path.rsplit(|byte| *byte == b'/').next()?)?;
    request.push(br#"","path":""#)?;
    if !path.starts_with(b"/") {
        let mut directory = Text::default();
        request.push_plain(directory.fill(system::current_directory)?)?;
        request.push(b"/")?;
    }
    request.push_plain(path)?;
    request.push(b"\"}\n")?;

    if !system::exists(CONTROL) {
        return None;
    }
    let connection = Connection::open(SOCKET)?;
    if !connection.is_trusted() {
        return None;
    }
    connection.send(request.bytes())?;
    let mut answer = [0; STORED.len()];
    for _ in 0..PATIENCE {
        connection.receive(&mut answer, SILENCE)?;
        if answer != BUSY {
            return Some(answer == STORED);
        }
    }
    None
}

/// Say what is wrong; the exit code, one that PostgreSQL's archiver logs, counts and tries again
/// after.
fn fail(message: &[u8]) -> u8 {
    for part in [b"walmgr-push: ERROR: ", message, b"\n"] {
        system::complain(part);
    }
    1
}

/// Bytes that are put together in place.
struct Text {
    bytes: [u8; 4096],
    length: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; 4096], length: 0 }
    }
}

impl Text {
    /// Add bytes; `None` when they do not fit.
    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length.checked_add(bytes.len())?;
        self.bytes.get_mut(self.length..end)?.copy_from_slice(bytes);
        self.length = end;
        Some(())
    }

    /// Add bytes that mean themselves in JSON; `None` for others, which walmgr knows how to write.
    fn push_plain(&mut self, bytes: &[u8]) -> Option<()> {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if bytes.iter().all(is_plain) { self.push(bytes) } else { None }
    }

    /// Let a system call write; what it wrote, `None` when it failed or may have been cut off.
    fn fill(&mut self, call: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<&[u8]> {
        self.length = call(&mut self.bytes).filter(|length| *length < self.bytes.len())?;
        Some(self.bytes())
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
