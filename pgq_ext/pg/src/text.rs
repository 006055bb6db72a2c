//! `text` values, in the database's encoding, which need not be UTF-8.

use pgq_core::encode::opaque;
use pgrx::pg_sys;

use super::{ports, setting};

/// A `text` datum that stays where it is; handing it on to a tuple copies nothing.
///
/// It points into memory of the current function call and must not be kept beyond it.
#[derive(Clone, Copy)]
pub struct Text(pg_sys::Datum);

impl Text {
    /// Wrap a datum that PostgreSQL handed over as `text`.
    ///
    /// # Safety
    ///
    /// `datum` is a valid, non-null varlena of type text that lives as long as the current call.
    pub unsafe fn from_datum(datum: pg_sys::Datum) -> Self {
        Self(datum)
    }

    /// Make a text value in the current memory context. `bytes` are in the database's encoding.
    pub fn new(bytes: &[u8]) -> Self {
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        // SAFETY: the pointer and length describe `bytes`; a length over the limit makes palloc
        // raise an error.
        Self(unsafe { pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), length) }.into())
    }

    /// The same of a Rust string, see [`super::string`].
    pub fn of_string(text: &str) -> Self {
        Self::new(&opaque::encode(text))
    }

    /// The datum, to be put into a tuple or an argument list.
    pub fn datum(self) -> pg_sys::Datum {
        self.0
    }

    /// Call `f` with the value's bytes; a compressed or out-of-line value is fetched first.
    pub fn with_bytes<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        let mut varlena = self.0.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the datum is a valid varlena (invariant of the type): its header says how it is
        // stored.
        let is_flat = unsafe {
            (pgrx::varlena::varatt_is_1b(varlena) && !pgrx::varlena::varatt_is_1b_e(varlena))
                || pgrx::varlena::varatt_is_4b_u(varlena)
        };
        if !is_flat {
            // SAFETY: as above; gives a flat copy in the current memory context.
            varlena = unsafe { pg_sys::pg_detoast_datum_packed(varlena) };
        }
        // SAFETY: a flat varlena has its bytes inline; the slice does not outlive this call.
        let result = f(unsafe { pgrx::varlena::varlena_to_byte_slice(varlena) });
        if !is_flat {
            // SAFETY: the copy made above, which nobody else has.
            unsafe { pg_sys::pfree(varlena.cast()) };
        }
        result
    }

    /// The value as it may stand in a message, see [`setting::for_message`].
    pub fn to_display(self) -> String {
        self.with_bytes(setting::for_message)
    }
}

impl pgrx::IntoDatum for Text {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.0)
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

/// A `text[]` datum, under the same rule.
#[derive(Clone, Copy)]
pub struct Texts(pg_sys::Datum);

impl Texts {
    /// Make one of one dimension in the current memory context.
    pub fn new(elements: &[Option<Text>]) -> Self {
        if elements.is_empty() {
            // SAFETY: allocates.
            return Self(unsafe { pg_sys::construct_empty_array(pg_sys::TEXTOID) }.into());
        }
        let value = |element: &Option<Text>| element.map_or(pg_sys::Datum::null(), Text::datum);
        let mut values: Vec<_> = elements.iter().map(value).collect();
        let mut nulls: Vec<_> = elements.iter().map(Option::is_none).collect();
        let mut length = i32::try_from(values.len()).unwrap_or(i32::MAX);
        let mut lower = 1;
        // SAFETY: as many values and flags as the length says (of more than 2^27 the server refuses
        // to make an array before it looks at any); text is a varlena, see `elements`.
        let array = unsafe {
            pg_sys::construct_md_array(
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
                1,
                &raw mut length,
                &raw mut lower,
                pg_sys::TEXTOID,
                -1,
                false,
                std::ffi::c_char::from_ne_bytes(*b"i"),
            )
        };
        Self(array.into())
    }

    /// The datum.
    pub fn datum(self) -> pg_sys::Datum {
        self.0
    }
}

/// The elements of an array of text, in storage order.
///
/// # Safety
///
/// `array` is a flat `text[]` that outlives the values.
pub(crate) unsafe fn elements(array: *mut pg_sys::ArrayType) -> Vec<Option<Text>> {
    let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: text is a varlena (-1, by reference, int alignment); the output pointers are ours.
    unsafe {
        pg_sys::deconstruct_array(
            array,
            pg_sys::TEXTOID,
            -1,
            false,
            std::ffi::c_char::from_ne_bytes(*b"i"),
            &mut elements,
            &mut nulls,
            &mut count,
        )
    };
    let count = ports::count(count);
    let element = |i: usize| {
        // SAFETY: deconstruct_array filled `count` elements and null flags.
        let (value, is_null) = unsafe { (*elements.add(i), *nulls.add(i)) };
        // SAFETY: a non-null element of text[] is a text inside the array, which lives as long as
        // the call.
        (!is_null).then(|| unsafe { Text::from_datum(value) })
    };
    (0..count).map(element).collect()
}
