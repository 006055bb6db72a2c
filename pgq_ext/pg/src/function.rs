//! Finding out whether an SQL function is one of ours, so that it can be called without SQL.

use std::ffi::{CStr, c_int, c_void};

use pgrx::pg_sys;

use super::{constants, ports, text};

/// An SQL function that is bound to a C function of this library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnFunction {
    oid: pg_sys::Oid,
    schema: pg_sys::Oid,
    owner: pg_sys::Oid,
    is_security_definer: bool,
}

/// Oid of language c in pg_language.
const LANGUAGE_C: u32 = 13;

/// The address of an exported C function.
pub type Entry = unsafe extern "C-unwind" fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum;

/// The [`Entry`] of a function that [`crate::sql_functions`] exports in this library, by its
/// symbol.
#[macro_export]
macro_rules! entry_of {
    ($symbol:ident) => {{
        unsafe extern "C-unwind" {
            fn $symbol(
                fcinfo: $crate::pgrx::pg_sys::FunctionCallInfo,
            ) -> $crate::pgrx::pg_sys::Datum;
        }
        const ENTRY: $crate::function::Entry = $symbol;
        ENTRY
    }};
}

/// The function `schema.name` with `arguments` text arguments, if it is bound to `entry`. None when
/// there is no such function, or somebody replaced it.
pub fn find_own(schema: &CStr, name: &CStr, arguments: usize, entry: Entry) -> Option<OwnFunction> {
    // SAFETY: a C string; a missing schema gives InvalidOid.
    let namespace = unsafe { pg_sys::get_namespace_oid(schema.as_ptr(), true) };
    let types = vec![pg_sys::TEXTOID; arguments];
    let count = c_int::try_from(arguments).expect("a function has at most 100 arguments");
    // SAFETY: as many types as the count says; the result is in the current memory context.
    let types = unsafe { pg_sys::buildoidvector(types.as_ptr(), count) };
    // SAFETY: the keys of this cache are name, argument types and schema.
    let tuple = unsafe {
        pg_sys::SearchSysCache3(
            constants::cache::FUNCTION_BY_NAME,
            pg_sys::Datum::from(name.as_ptr()),
            pg_sys::Datum::from(types),
            pg_sys::Datum::from(namespace),
        )
    };
    if tuple.is_null() {
        return None;
    }
    // SAFETY: a row of pg_proc, pinned until it is released below.
    let form = unsafe { &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>() };
    let found = OwnFunction {
        oid: form.oid,
        schema: namespace,
        owner: form.proowner,
        is_security_definer: form.prosecdef,
    };
    // SAFETY: the pinned row of pg_proc.
    let is_ours = unsafe { is_bound_to(tuple, entry) };
    // SAFETY: found above.
    unsafe { pg_sys::ReleaseSysCache(tuple) };
    is_ours.then_some(found)
}

/// True when the function of this oid is bound to `entry`, whatever it is called.
pub fn is_own(function: pg_sys::Oid, entry: Entry) -> bool {
    // SAFETY: the key of this cache is an oid.
    let tuple = unsafe {
        pg_sys::SearchSysCache1(constants::cache::FUNCTION, pg_sys::Datum::from(function))
    };
    if tuple.is_null() {
        return false;
    }
    // SAFETY: a pinned row of pg_proc, released right after.
    unsafe {
        let is_ours = is_bound_to(tuple, entry);
        pg_sys::ReleaseSysCache(tuple);
        is_ours
    }
}

/// True for a C function that is `entry`, whatever the library is called. One with settings of its
/// own is called through SQL.
///
/// # Safety
///
/// `tuple` is a pinned row of pg_proc.
unsafe fn is_bound_to(tuple: pg_sys::HeapTuple, entry: Entry) -> bool {
    // SAFETY: by this function's contract.
    let form = unsafe { &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>() };
    if form.prolang != pg_sys::Oid::from(LANGUAGE_C) {
        return false;
    }
    // SAFETY: as above.
    let (settings, symbol, library) = unsafe {
        (
            attribute(tuple, constants::function::SETTINGS),
            attribute(tuple, constants::function::SYMBOL),
            attribute(tuple, constants::function::LIBRARY),
        )
    };
    settings.is_none_or(only_search_path)
        && symbol
            .zip(library)
            .is_some_and(|(symbol, library)| load(library, symbol) == address(entry))
}

impl OwnFunction {
    /// The user who calls.
    pub fn current_user() -> pg_sys::Oid {
        // SAFETY: reads backend-local state.
        unsafe { pg_sys::GetUserId() }
    }

    /// Raise 42501, as an SQL call would, unless the current user may call the function.
    pub fn check_permission(&self, schema: &CStr, name: &CStr) {
        let user = Self::current_user();
        ports::check_schema_usage(self.schema, user, schema);
        ports::check_execute(self.oid, user, name);
    }

    /// Run `f` as the user that an SQL call would run the function as.
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        if !self.is_security_definer {
            return f();
        }
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: the output pointers are ours.
        unsafe { pg_sys::GetUserIdAndSecContext(&mut user, &mut context) };
        let local = context | constants::flag::LOCAL_USER;
        // SAFETY: as PostgreSQL's fmgr_security_definer does; the end of a failed (sub)transaction
        // restores the user.
        unsafe { pg_sys::SetUserIdAndSecContext(self.owner, local) };
        let result = f();
        // SAFETY: what it was before.
        unsafe { pg_sys::SetUserIdAndSecContext(user, context) };
        result
    }
}

/// A column of a pinned pg_proc row; None for NULL.
///
/// # Safety
///
/// `tuple` is a pinned row of pg_proc and `number` one of its columns.
unsafe fn attribute(tuple: pg_sys::HeapTuple, number: c_int) -> Option<pg_sys::Datum> {
    let mut is_null = true;
    // SAFETY: by this function's contract.
    let value = unsafe {
        pg_sys::SysCacheGetAttr(
            constants::cache::FUNCTION_BY_NAME,
            tuple,
            pg_sys::AttrNumber::try_from(number).expect("a column of pg_proc"),
            &mut is_null,
        )
    };
    (!is_null).then_some(value)
}

/// True when a function's settings are about `search_path` alone, which means nothing to a C
/// function that resolves no names.
fn only_search_path(settings: pg_sys::Datum) -> bool {
    // SAFETY: proconfig is text[], given by the catalog; detoasting gives a flat copy where one is
    // needed.
    let settings =
        unsafe { text::elements(pg_sys::pg_detoast_datum(settings.cast_mut_ptr()).cast()) };
    settings.iter().flatten().all(|setting| setting.with_bytes(|s| s.starts_with(b"search_path=")))
}

/// Address of `symbol` in `library`, both text; null when it has no such symbol. Raises an error
/// when there is no such library.
fn load(library: pg_sys::Datum, symbol: pg_sys::Datum) -> *mut c_void {
    // SAFETY: text columns of pg_proc; the results are C strings in the current memory context.
    let (library, symbol) = unsafe {
        (
            pg_sys::text_to_cstring(library.cast_mut_ptr()),
            pg_sys::text_to_cstring(symbol.cast_mut_ptr()),
        )
    };
    // SAFETY: both are C strings; no handle is asked for.
    let function =
        unsafe { pg_sys::load_external_function(library, symbol, false, std::ptr::null_mut()) };
    function.address()
}

/// What PostgreSQL calls a loaded function: an address since 14, a function pointer before.
trait Loaded {
    fn address(self) -> *mut c_void;
}

impl Loaded for *mut c_void {
    fn address(self) -> *mut c_void {
        self
    }
}

impl Loaded for Option<Entry> {
    fn address(self) -> *mut c_void {
        self.map_or(std::ptr::null_mut(), address)
    }
}

#[expect(clippy::as_conversions, reason = "the only way from a function to its address")]
fn address(entry: Entry) -> *mut c_void {
    entry as *mut c_void
}
