//! A zeroed piece of the server's main shared memory.

use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::OnceLock;

use pgrx::pg_guard;
use pgrx::pg_sys;

use super::ports;

/// What the server aligns pieces to, at least.
pub(crate) const ALIGNMENT: usize = 64;

/// What was asked for.
#[derive(Clone, Copy)]
struct Request {
    name: &'static CStr,
    size: fn() -> usize,
}

static REQUEST: OnceLock<Request> = OnceLock::new();
static PREVIOUS: OnceLock<pg_sys::shmem_startup_hook_type> = OnceLock::new();
/// Where it begins, and how long it is.
static mut PIECE: Option<(NonNull<u8>, usize)> = None;

/// True while the postmaster loads `shared_preload_libraries`.
pub fn is_preloading() -> bool {
    // SAFETY: a flag that only the postmaster changes, before it forks.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// True in pg_upgrade's server, where nothing may run by itself.
pub fn is_binary_upgrade() -> bool {
    // SAFETY: set from the command line of the postmaster.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// Ask for `size()` bytes under a name that nobody else uses; to be called once, while preloading.
pub fn request(name: &'static CStr, size: fn() -> usize) {
    assert!(REQUEST.set(Request { name, size }).is_ok(), "there is one piece");
    ports::request_shared_memory(size);
    // SAFETY: the postmaster has one thread, and hooks are chained while it loads libraries.
    let previous = unsafe { pg_sys::shmem_startup_hook };
    let _ = PREVIOUS.set(previous);
    // SAFETY: as above.
    unsafe { pg_sys::shmem_startup_hook = Some(startup) }
}

/// Start of the piece, when the server has given it to us. It is 64-byte aligned and begins its
/// life zeroed.
pub(crate) fn start() -> Option<NonNull<u8>> {
    piece().map(|(start, _)| start)
}

/// Bytes of the piece; 0 without one.
pub(crate) fn size() -> usize {
    piece().map_or(0, |(_, size)| size)
}

fn piece() -> Option<(NonNull<u8>, usize)> {
    // SAFETY: written by the postmaster only, before any process is forked that reads it.
    unsafe { PIECE }
}

// Runs at every start, also after a crash, when the memory is new.
#[pg_guard]
unsafe extern "C-unwind" fn startup() {
    if let Some(Some(previous)) = PREVIOUS.get() {
        // SAFETY: the hook that was there before ours, called as the server would have.
        unsafe { previous() }
    }
    let Some(request) = REQUEST.get() else { return };
    let size = (request.size)();
    let mut found = false;
    // SAFETY: the size is the one that was requested. No lock: in the postmaster nobody else runs.
    let memory = unsafe { pg_sys::ShmemInitStruct(request.name.as_ptr(), size, &mut found) };
    if !found {
        // SAFETY: `size` bytes that are ours since a moment ago.
        unsafe { std::ptr::write_bytes(memory.cast::<u8>(), 0, size) }
    }
    // SAFETY: the postmaster has one thread; backends inherit the value.
    unsafe { PIECE = NonNull::new(memory.cast()).map(|start| (start, size)) }
}
