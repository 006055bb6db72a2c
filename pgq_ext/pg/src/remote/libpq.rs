//! The client library of PostgreSQL. Every package of a server depends on it; it is opened when it
//! is first needed, so that nothing but its file has to be there, and only where it is used.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

const FILE: &CStr = c"libpq.so.5";
const RTLD_NOW: c_int = 2;

/// `PGconn`.
pub(super) type Conn = c_void;
/// `PGresult`.
pub(super) type Outcome = c_void;
/// `PQnoticeProcessor`.
pub(super) type OnNotice = unsafe extern "C" fn(*mut c_void, *const c_char);

/// `PQconninfoOption`, as in libpq-fe.h since 9.0.
#[repr(C)]
pub(super) struct ConnOption {
    pub(super) keyword: *const c_char,
    pub(super) envvar: *const c_char,
    pub(super) compiled: *const c_char,
    pub(super) val: *const c_char,
    pub(super) label: *const c_char,
    pub(super) dispchar: *const c_char,
    pub(super) dispsize: c_int,
}

unsafe extern "C" {
    // Of libc, or of libdl, which the server is linked with.
    fn dlopen(file: *const c_char, mode: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

macro_rules! functions {
    ($($name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// Functions of the library, by their names there.
        #[expect(non_snake_case, reason = "the library's names")]
        pub(super) struct Libpq {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Libpq {
            fn load() -> Option<Self> {
                // SAFETY: a C string. What is loaded stays, as a library of an extension does.
                let library = unsafe { dlopen(FILE.as_ptr(), RTLD_NOW) };
                if library.is_null() {
                    return None;
                }
                Some(Self {$(
                    $name: {
                        let name = concat!(stringify!($name), "\0");
                        // SAFETY: an open library and a string that ends with a zero.
                        let found = unsafe { dlsym(library, name.as_ptr().cast()) };
                        if found.is_null() {
                            return None;
                        }
                        // SAFETY: the declaration below is the one of libpq-fe.h, which has not
                        // changed within version 5 of the library.
                        unsafe {
                            std::mem::transmute::<
                                *mut c_void,
                                unsafe extern "C" fn($($argument),*) $(-> $result)?,
                            >(found)
                        }
                    },
                )*})
            }
        }
    };
}

functions! {
    PQconninfoParse(*const c_char, *mut *mut c_char) -> *mut ConnOption;
    PQconninfoFree(*mut ConnOption);
    PQconndefaults() -> *mut ConnOption;
    PQfreemem(*mut c_void);
    PQconnectStartParams(*const *const c_char, *const *const c_char, c_int) -> *mut Conn;
    PQconnectPoll(*mut Conn) -> c_int;
    PQstatus(*const Conn) -> c_int;
    PQsocket(*const Conn) -> c_int;
    PQerrorMessage(*const Conn) -> *const c_char;
    PQsetNoticeProcessor(*mut Conn, OnNotice, *mut c_void) -> Option<OnNotice>;
    PQsetnonblocking(*mut Conn, c_int) -> c_int;
    PQconnectionUsedPassword(*const Conn) -> c_int;
    PQsendQueryParams(
        *mut Conn, *const c_char, c_int, *const u32, *const *const c_char, *const c_int,
        *const c_int, c_int
    ) -> c_int;
    PQsendQuery(*mut Conn, *const c_char) -> c_int;
    PQsetSingleRowMode(*mut Conn) -> c_int;
    PQparameterStatus(*const Conn, *const c_char) -> *const c_char;
    PQflush(*mut Conn) -> c_int;
    PQconsumeInput(*mut Conn) -> c_int;
    PQisBusy(*mut Conn) -> c_int;
    PQgetResult(*mut Conn) -> *mut Outcome;
    PQresultStatus(*const Outcome) -> c_int;
    PQresultErrorField(*const Outcome, c_int) -> *const c_char;
    PQntuples(*const Outcome) -> c_int;
    PQnfields(*const Outcome) -> c_int;
    PQgetisnull(*const Outcome, c_int, c_int) -> c_int;
    PQgetvalue(*const Outcome, c_int, c_int) -> *const c_char;
    PQgetlength(*const Outcome, c_int, c_int) -> c_int;
    PQgetCopyData(*mut Conn, *mut *mut c_char, c_int) -> c_int;
    PQnotifies(*mut Conn) -> *mut c_void;
    PQclear(*mut Outcome);
    PQfinish(*mut Conn);
}

/// The library; none when it is not there. Looked for again each time then.
pub(super) fn libpq() -> Option<&'static Libpq> {
    static LOADED: OnceLock<Libpq> = OnceLock::new();
    if LOADED.get().is_none() {
        let _ = LOADED.set(Libpq::load()?);
    }
    LOADED.get()
}
