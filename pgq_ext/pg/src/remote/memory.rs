//! A limit for the memory that the library takes: it makes room for whatever length the other side
//! announces, up to 2 GB, and a server that runs out of memory ends as a whole.

#[cfg(target_os = "linux")]
use std::ffi::{c_int, c_long};

/// How much address space this process may have, and how much it might before; none: no limit is
/// known.
#[derive(Clone, Copy)]
pub(super) struct Ceiling(#[cfg(target_os = "linux")] Option<(Limit, Limit)>);

impl Ceiling {
    /// So many bytes more than it has now. Only Linux tells what that is.
    #[cfg(target_os = "linux")]
    pub(super) fn above_now(room: u64) -> Self {
        let mut before = Limit { current: 0, most: 0 };
        // SAFETY: a structure of the C library's for the answer.
        let is_known = unsafe { getrlimit(RLIMIT_AS, &raw mut before) } == 0;
        let limits = address_space().filter(|_| is_known).map(|now| {
            let current = now.saturating_add(room).min(before.current);
            (Limit { current, ..before }, before)
        });
        Self(limits)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn above_now(_room: u64) -> Self {
        Self()
    }

    /// Run `body` below it: allocations that do not fit fail. It raises no errors and calls nothing
    /// of the server's, which would raise one then.
    #[cfg(target_os = "linux")]
    pub(super) fn hold<R>(self, body: impl FnOnce() -> R) -> R {
        let Some((limit, before)) = self.0 else { return body() };
        // SAFETY: a soft limit at most as high as before.
        unsafe { setrlimit(RLIMIT_AS, &raw const limit) };
        let result = body();
        // SAFETY: what it was.
        unsafe { setrlimit(RLIMIT_AS, &raw const before) };
        result
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn hold<R>(self, body: impl FnOnce() -> R) -> R {
        body()
    }
}

#[cfg(target_os = "linux")]
fn address_space() -> Option<u64> {
    const PAGE_SIZE: c_int = 30;
    let pages: u64 =
        std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').next()?.parse().ok()?;
    // SAFETY: asks for a constant of this machine.
    let size = u64::try_from(unsafe { sysconf(PAGE_SIZE) }).ok()?;
    pages.checked_mul(size)
}

#[cfg(target_os = "linux")]
const RLIMIT_AS: c_int = 9;

/// `struct rlimit`, of 64-bit systems, as all are that PgQ is built for.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
#[repr(C)]
struct Limit {
    current: u64,
    most: u64,
}

#[cfg(target_os = "linux")]
unsafe extern "C" {
    fn getrlimit(resource: c_int, limit: *mut Limit) -> c_int;
    fn setrlimit(resource: c_int, limit: *const Limit) -> c_int;
    fn sysconf(name: c_int) -> c_long;
}
