//! Memory contexts that outlive a transaction.

use std::ffi::CStr;

use pgrx::pg_sys;

/// A memory context for what a cache entry points to. Dropping it frees the memory.
pub struct LongLivedContext(pg_sys::MemoryContext);

impl LongLivedContext {
    /// A context of this name below PostgreSQL's cache context.
    pub fn new(name: &'static CStr) -> Self {
        // SAFETY: CacheMemoryContext exists in every backend that has run a query; the name is a
        // static string.
        Self(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::CacheMemoryContext,
                name.as_ptr(),
                0,
                1024,
                8192,
            )
        })
    }

    /// Look up how to call a function; the result lives as long as the context.
    pub(crate) fn function(&self, oid: pg_sys::Oid) -> *mut pg_sys::FmgrInfo {
        // SAFETY: the context is alive.
        let info = unsafe { pg_sys::MemoryContextAllocZero(self.0, size_of::<pg_sys::FmgrInfo>()) }
            .cast::<pg_sys::FmgrInfo>();
        // SAFETY: allocated above; raises an error for a function that does not exist.
        unsafe { pg_sys::fmgr_info_cxt(oid, info, self.0) };
        info
    }
}

impl Drop for LongLivedContext {
    fn drop(&mut self) {
        // While an error unwinds, PostgreSQL must not be called; the little memory then stays until
        // the session ends.
        if !std::thread::panicking() {
            // SAFETY: made by `new`, and nothing refers to it any more.
            unsafe { pg_sys::MemoryContextDelete(self.0) };
        }
    }
}
