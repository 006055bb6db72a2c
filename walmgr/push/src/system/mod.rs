//! What the program asks of Linux, and what the compiler takes for granted: all unsafe code is
//! here. What differs by processor is in [`machine`]: the program's first instruction, how the
//! kernel is called, the numbers of its calls, and memory functions.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod machine;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod machine;

use core::ffi::{CStr, c_char};
use core::time::Duration;

use machine::{
    CONNECT, EXECVE, EXIT_GROUP, FACCESSAT, GETEUID, GETSOCKOPT, PPOLL, READLINKAT, RECVFROM,
    SENDTO, SOCKET, WRITE, call,
};

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "walmgr-push is for Linux on x86-64 and aarch64; elsewhere walmgr itself is the archive_command"
);

// <linux/socket.h>, <linux/net.h>, <asm-generic/fcntl.h>, <asm-generic/poll.h>,
// <asm-generic/errno-base.h>; the same on both processors
const AF_UNIX: u16 = 1;
const SOCK_STREAM: usize = 1;
const SOCK_CLOEXEC: usize = 0o2_000_000;
const SOCK_NONBLOCK: usize = 0o4000;
const MSG_NOSIGNAL: usize = 0x4000;
const SOL_SOCKET: usize = 1;
const SO_PEERCRED: usize = 17;
const POLLIN: i16 = 1;
const EINTR: isize = -4;
// <linux/fcntl.h>: -100, paths are relative to the current directory.
const AT_FDCWD: usize = usize::MAX - 99;

/// What the kernel gave the program.
pub(crate) struct Process {
    /// Ends with a null pointer, and after it comes the environment, which does too.
    arguments: *const *const c_char,
    environment: *const *const c_char,
}

impl Process {
    /// The arguments, the program's name first.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        (0..).map_while(|number| {
            // SAFETY: the vector ends with a null pointer, and the iterator ends there.
            let argument = unsafe { self.arguments.add(number) };
            // SAFETY: as above.
            let argument = unsafe { *argument };
            // SAFETY: the kernel made it a string with its end, which stays where it is while the
            // program runs.
            (!argument.is_null()).then(|| unsafe { CStr::from_ptr(argument) }.to_bytes())
        })
    }
}

/// A connection to a Unix socket.
pub(crate) struct Connection(usize);

impl Connection {
    /// Connect to a socket at a path, or fail at once: a daemon that accepts nothing must not be
    /// waited for.
    pub(crate) fn open(path: &[u8]) -> Option<Self> {
        let mut address = [0_u8; 110];
        let (family, place) = address.split_at_mut(2);
        family.copy_from_slice(&AF_UNIX.to_ne_bytes());
        place.get_mut(..path.len())?.copy_from_slice(path);
        let kind = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
        // SAFETY: takes no pointer.
        let socket = unsafe { call(SOCKET, [usize::from(AF_UNIX), kind, 0, 0, 0, 0]) };
        let socket = usize::try_from(socket).ok()?;
        // SAFETY: the address lives until the call returns, and its length is told.
        let connected = unsafe {
            call(CONNECT, [socket, address.as_ptr().expose_provenance(), address.len(), 0, 0, 0])
        };
        (connected == 0).then_some(Self(socket))
    }

    /// Send all bytes.
    pub(crate) fn send(&self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let (start, length) = (bytes.as_ptr().expose_provenance(), bytes.len());
            // SAFETY: the kernel reads the slice, whose length is told, and no more.
            let sent =
                retried(|| unsafe { call(SENDTO, [self.0, start, length, MSG_NOSIGNAL, 0, 0]) })?;
            bytes = bytes.get(sent..)?;
        }
        Some(())
    }

    /// True when who listens is this process's user, who could change the data directory as well,
    /// or root.
    pub(crate) fn is_trusted(&self) -> bool {
        // struct ucred: process, user, group
        let mut peer = [u32::MAX; 3];
        let mut length: u32 = 12;
        let (start, size) =
            (peer.as_mut_ptr().expose_provenance(), (&raw mut length).expose_provenance());
        // SAFETY: the kernel writes to the three numbers, whose length is told, and to that length.
        let asked = unsafe { call(GETSOCKOPT, [self.0, SOL_SOCKET, SO_PEERCRED, start, size, 0]) };
        // SAFETY: takes no pointer.
        let own = unsafe { call(GETEUID, [0; 6]) };
        let [_, user, _] = peer;
        asked == 0 && length == 12 && (user == 0 || isize::try_from(user) == Ok(own))
    }

    /// Wait until there is something to receive; `None` when nothing comes for that long.
    fn wait(&self, limit: Duration) -> Option<()> {
        // struct timespec; the kernel leaves in it what is over when a signal comes.
        let mut time = [i64::try_from(limit.as_secs()).ok()?, i64::from(limit.subsec_nanos())];
        let time = time.as_mut_ptr().expose_provenance();
        let socket = i32::try_from(self.0).ok()?.to_ne_bytes();
        let [a, b, c, d] = socket;
        let [e, f] = POLLIN.to_ne_bytes();
        // struct pollfd: descriptor, what is waited for, what has happened
        let mut entry = [a, b, c, d, e, f, 0, 0];
        let start = entry.as_mut_ptr().expose_provenance();
        // SAFETY: the kernel reads and writes the one entry and the time.
        let ready = retried(|| unsafe { call(PPOLL, [start, 1, time, 0, 0, 0]) })?;
        (ready == 1).then_some(())
    }

    /// Wait until the buffer is full; `None` when nothing comes for that long.
    pub(crate) fn receive(&self, buffer: &mut [u8], silence: Duration) -> Option<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            self.wait(silence)?;
            let rest = buffer.get_mut(filled..)?;
            let (start, length) = (rest.as_mut_ptr().expose_provenance(), rest.len());
            // SAFETY: the kernel writes to the slice, which is borrowed for writing, and no further
            // than its length.
            let received = retried(|| unsafe { call(RECVFROM, [self.0, start, length, 0, 0, 0]) })?;
            if received == 0 {
                return None;
            }
            filled += received;
        }
        Some(())
    }
}

/// Path of this program.
pub(crate) fn own_path(buffer: &mut [u8]) -> Option<usize> {
    read_link(c"/proc/self/exe", buffer)
}

/// Absolute path of the current directory.
pub(crate) fn current_directory(buffer: &mut [u8]) -> Option<usize> {
    read_link(c"/proc/self/cwd", buffer)
}

/// True when there is a file at a path.
pub(crate) fn exists(path: &CStr) -> bool {
    // SAFETY: a string with its end. 0 is F_OK.
    let found =
        unsafe { call(FACCESSAT, [AT_FDCWD, path.as_ptr().expose_provenance(), 0, 0, 0, 0]) };
    found == 0
}

/// Become another program with the same arguments and environment; returns when that fails.
///
/// The path ends with a zero byte; one that does not is none.
pub(crate) fn execute(path: &[u8], process: &Process) {
    if CStr::from_bytes_with_nul(path).is_err() {
        return;
    }
    let (arguments, environment) =
        (process.arguments.expose_provenance(), process.environment.expose_provenance());
    // SAFETY: a string with its end, and two vectors as the kernel made them.
    unsafe { call(EXECVE, [path.as_ptr().expose_provenance(), arguments, environment, 0, 0, 0]) };
}

/// Write to standard error; nothing can be done about a failure.
pub(crate) fn complain(message: &[u8]) {
    // SAFETY: the kernel reads the slice, whose length is told, and no more.
    unsafe { call(WRITE, [2, message.as_ptr().expose_provenance(), message.len(), 0, 0, 0]) };
}

fn read_link(path: &CStr, buffer: &mut [u8]) -> Option<usize> {
    let (start, length) = (buffer.as_mut_ptr().expose_provenance(), buffer.len());
    let path = path.as_ptr().expose_provenance();
    // SAFETY: a string with its end, and a buffer that is borrowed for writing, whose length is
    // told.
    let length = unsafe { call(READLINKAT, [AT_FDCWD, path, start, length, 0, 0]) };
    usize::try_from(length).ok()
}

/// The result of a call, made again while a signal interrupts it; `None` for a failure.
fn retried(mut call: impl FnMut() -> isize) -> Option<usize> {
    loop {
        match call() {
            EINTR => {}
            result => return usize::try_from(result).ok(),
        }
    }
}

fn exit(code: u8) -> ! {
    loop {
        // SAFETY: takes no pointer, and does not return.
        unsafe { call(EXIT_GROUP, [usize::from(code), 0, 0, 0, 0, 0]) };
    }
}

/// # Safety
/// For the first instruction, with the stack as it was: both processors have there the number of
/// arguments, the arguments, and the environment.
unsafe extern "C" fn start(stack: *const *const c_char) -> ! {
    // SAFETY: the first word is the number of arguments, a number of the size of a pointer.
    let count = unsafe { *stack.cast::<usize>() };
    // SAFETY: the vector of arguments follows.
    let arguments = unsafe { stack.add(1) };
    // SAFETY: the environment follows, after the null pointer that ends the arguments.
    let environment = unsafe { arguments.add(count.wrapping_add(1)) };
    exit(crate::main(&Process { arguments, environment }))
}

/// A fault of the program. The archiver logs this exit code, counts it and tries again; an abort
/// would make it restart.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    complain(b"walmgr-push: ERROR: internal error\n");
    exit(70)
}

/// `core` was compiled to unwind and names this; nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    exit(70)
}
