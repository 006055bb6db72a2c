//! What happens when a process loads the library.

/// Makes the crate a library that the server can load, and `init` what happens then: once per
/// process, in the postmaster when the library is in `shared_preload_libraries`.
#[macro_export]
macro_rules! library {
    ($init:path) => {
        $crate::pgrx::pg_module_magic!();

        /// Called by the server once per process.
        #[pgrx::pg_guard]
        pub extern "C-unwind" fn _PG_init() {
            $crate::load::forgo_backtraces();
            $init();
        }
    };
}

/// Have Rust decide, once for this process and its children, that errors carry no backtraces.
///
/// pgrx would put them into each error's DETAIL, and one more with each level that the error
/// passes.
pub fn forgo_backtraces() {
    const VARIABLE: &str = "RUST_LIB_BACKTRACE";
    let kept = std::env::var_os(VARIABLE);
    // SAFETY: PostgreSQL's processes have one thread. The standard library asks for the variable
    // when the first backtrace is wanted, which is here, and never again; other code of this
    // process finds it as it was.
    unsafe { std::env::set_var(VARIABLE, "0") };
    drop(std::backtrace::Backtrace::capture());
    match kept {
        // SAFETY: as above.
        Some(value) => unsafe { std::env::set_var(VARIABLE, value) },
        // SAFETY: as above.
        None => unsafe { std::env::remove_var(VARIABLE) },
    }
}
