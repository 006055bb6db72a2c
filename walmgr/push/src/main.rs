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

use walmgr_protocol::plain::{self, ANSWER, BUSY, DONE};
use walmgr_protocol::{DATA_MARK, PATIENCE, PULSE, SILENCE, SOCKET};

use system::{Connection, Process};

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
    if let Some(path) =
        path.push(program).and_then(|()| path.push(b"\0")).and_then(|()| path.bytes())
    {
        system::execute(path, process);
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
    let mut place = Text::default();
    let directory: &[u8] =
        if path.starts_with(b"/") { b"" } else { place.fill(system::current_directory)? };
    let mut request = Text::default();
    for piece in plain::push(config, directory, path)? {
        request.push(piece)?;
    }

    if !system::exists(DATA_MARK) {
        return None;
    }
    let connection = Connection::open(SOCKET.as_bytes())?;
    if !connection.is_trusted() {
        return None;
    }
    connection.send(request.bytes()?)?;
    let mut answer = [0; ANSWER];
    for _ in 0..PATIENCE.as_secs() / PULSE.as_secs() {
        connection.receive(&mut answer, SILENCE)?;
        if answer != *BUSY {
            return Some(answer == *DONE);
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

    /// Let a system call write; what it wrote, `None` when it failed or may have been cut off.
    fn fill(&mut self, call: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<&[u8]> {
        self.length = call(&mut self.bytes).filter(|length| *length < self.bytes.len())?;
        self.bytes()
    }

    fn bytes(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }
}
