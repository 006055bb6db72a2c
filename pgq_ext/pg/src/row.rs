//! Rows taken apart: the text of each value, and whether two values are the same.

use std::ffi::{CStr, c_char};

use pgq_core::encode::decimal;
use pgrx::{pg_sys, varlena};

use super::memory::LongLivedContext;
use super::ports;
use super::relation::{Column, Relation};

/// How to read the rows of one table. Good until the table is invalidated.
pub struct Shape {
    columns: Vec<(Column, Reader, Equality)>,
    /// What the output functions keep between calls lives here.
    _memory: LongLivedContext,
}

/// Makes text of a value. The frequent types need no function call.
enum Reader {
    Text,
    Bool,
    Int2,
    Int4,
    Int8,
    Function(*mut pg_sys::FmgrInfo),
}

/// Tells whether two values that differ in their bytes are equal.
enum Equality {
    /// By the type's `=`.
    Operator(*mut pg_sys::TypeCacheEntry),
    /// By their text: the type has no `=`, or is an array.
    Text,
}

impl Shape {
    /// Learn how to read a table's rows.
    pub fn new(relation: Relation<'_>) -> Self {
        let memory = LongLivedContext::new(c"shape of a table");
        let describe = |column: Column| {
            if !column.has_value {
                return (column, Reader::Text, Equality::Text);
            }
            let reader = Reader::new(column.type_oid, &memory);
            let equality = Equality::new(column.type_oid);
            (column, reader, equality)
        };
        let columns = relation.columns().into_iter().map(describe).collect();
        Self { columns, _memory: memory }
    }

    /// The columns in order, dropped ones included.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &Column> {
        self.columns.iter().map(|(column, ..)| column)
    }

    /// One column.
    pub fn column(&self, index: usize) -> Option<&Column> {
        self.columns.get(index).map(|(column, ..)| column)
    }
}

impl Reader {
    fn new(type_oid: pg_sys::Oid, memory: &LongLivedContext) -> Self {
        let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
        // SAFETY: raises an error for a type that does not exist; the output pointers are ours.
        unsafe { pg_sys::getTypeOutputInfo(type_oid, &mut function, &mut is_varlena) };
        match function.to_u32() {
            // Their text is the value's bytes as they are.
            pg_sys::F_TEXTOUT | pg_sys::F_VARCHAROUT | pg_sys::F_BPCHAROUT | pg_sys::F_JSON_OUT => {
                Self::Text
            }
            pg_sys::F_BOOLOUT => Self::Bool,
            pg_sys::F_INT2OUT => Self::Int2,
            pg_sys::F_INT4OUT => Self::Int4,
            pg_sys::F_INT8OUT => Self::Int8,
            _ => Self::Function(memory.function(function)),
        }
    }
}

impl Equality {
    fn new(type_oid: pg_sys::Oid) -> Self {
        let flags = pg_sys::TYPECACHE_EQ_OPR_FINFO.cast_signed();
        // SAFETY: raises an error for a type that does not exist; entries live as long as the
        // backend.
        let entry = unsafe { pg_sys::lookup_type_cache(type_oid, flags) };
        // SAFETY: as above.
        let (operator, function) = unsafe { ((*entry).eq_opr, (*entry).eq_opr_finfo.fn_oid) };
        if operator == pg_sys::InvalidOid || function == pg_sys::Oid::from(pg_sys::F_ARRAY_EQ) {
            Self::Text
        } else {
            Self::Operator(entry)
        }
    }
}

/// One row of a table.
#[derive(Clone, Copy)]
pub struct Row<'r> {
    shape: &'r Shape,
    values: &'r [pg_sys::Datum],
    nulls: &'r [bool],
}

impl<'r> Row<'r> {
    /// Take a row apart, as far as the column before `end`.
    ///
    /// # Safety
    ///
    /// The slot holds a row of the table that `shape` was made of, and keeps it during `'r`.
    pub(crate) unsafe fn read(
        slot: *mut pg_sys::TupleTableSlot,
        shape: &'r Shape,
        end: usize,
    ) -> Self {
        let wanted =
            i16::try_from(end.min(shape.columns.len())).expect("a row has at most 1664 columns");
        // SAFETY: a valid slot, by this function's contract.
        if unsafe { (*slot).tts_nvalid } < wanted {
            // SAFETY: the slot has that many columns, as the table has.
            unsafe { pg_sys::slot_getsomeattrs_int(slot, i32::from(wanted)) };
        }
        let count = ports::count(wanted);
        // SAFETY: the first `wanted` elements are valid now, and stay so by this function's
        // contract.
        let (values, nulls) = unsafe {
            (
                std::slice::from_raw_parts((*slot).tts_values, count),
                std::slice::from_raw_parts((*slot).tts_isnull, count),
            )
        };
        Self { shape, values, nulls }
    }

    /// The value of a column; None for NULL and for a column without value.
    fn datum(&self, index: usize) -> Option<pg_sys::Datum> {
        assert!(index < self.values.len(), "a column that was not read");
        if self.nulls[index] { None } else { Some(self.values[index]) }
    }

    /// The value and its type, as a query parameter.
    pub(crate) fn parameter(&self, index: usize) -> Option<pg_sys::Datum> {
        self.datum(index)
    }

    /// Give `f` the value's text, as the type's output function writes it; None for NULL.
    pub fn with_text<R>(&self, index: usize, f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        let (Some(datum), Some((_, reader, _))) =
            (self.datum(index), self.shape.columns.get(index))
        else {
            return f(None);
        };
        match reader {
            // SAFETY: a text-like type is a varlena, and the row outlives the call.
            Reader::Text => f(Some(unsafe { varlena_bytes(datum) })),
            Reader::Bool => f(Some(if datum.value() == 0 { b"f" } else { b"t" })),
            Reader::Int2 => f(Some(decimal::write(read_int2(datum), &mut [0; 20]))),
            Reader::Int4 => f(Some(decimal::write(read_int4(datum), &mut [0; 20]))),
            Reader::Int8 => f(Some(decimal::write(read_int8(datum), &mut [0; 20]))),
            Reader::Function(function) => {
                // SAFETY: the shape keeps the function's lookup data; the datum is of the type it
                // is for.
                let text = unsafe { pg_sys::OutputFunctionCall(*function, datum) };
                // SAFETY: output functions return C strings in the current memory context.
                f(Some(unsafe { CStr::from_ptr(text) }.to_bytes()))
            }
        }
    }

    /// Give `f` a date or timestamp in the ISO 8601 form of XML and JSON, whatever DateStyle is;
    /// None for NULL.
    ///
    /// Raises 22008 for a value out of range. The column's type is date, timestamp or timestamptz.
    pub fn with_iso_time<R>(&self, index: usize, f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        let (Some(datum), Some(column)) = (self.datum(index), self.shape.column(index)) else {
            return f(None);
        };
        if !is_time(column.type_oid) {
            return self.with_text(index, f);
        }
        // MAXDATELEN is 128.
        let mut buffer: [c_char; 160] = [0; 160];
        // SAFETY: the type is one that the function knows, and the buffer is longer than its
        // longest result.
        let text = unsafe {
            pg_sys::JsonEncodeDateTime(
                buffer.as_mut_ptr(),
                datum,
                column.type_oid,
                std::ptr::null(),
            )
        };
        // SAFETY: the function returns the buffer with a C string in it.
        f(Some(unsafe { CStr::from_ptr(text) }.to_bytes()))
    }

    /// True when the column has the same value in both rows: the same bytes, or equal by the type's
    /// `=` operator under the column's collation; where there is no usable operator, equal text.
    /// NULL is the same as NULL.
    pub fn has_same(&self, other: &Self, index: usize) -> bool {
        let (this, that) = match (self.datum(index), other.datum(index)) {
            (Some(this), Some(that)) => (this, that),
            (this, that) => return this.is_none() && that.is_none(),
        };
        let Some((column, _, equality)) = self.shape.columns.get(index) else { return true };
        // SAFETY: both are values of the column.
        if unsafe { is_identical(column, this, that) } {
            return true;
        }
        match equality {
            Equality::Operator(entry) => {
                // SAFETY: typcache entries live as long as the backend.
                let function = unsafe { std::ptr::addr_of_mut!((**entry).eq_opr_finfo) };
                // SAFETY: the function is the type's equality, strict arguments are not null.
                let equal =
                    unsafe { pg_sys::FunctionCall2Coll(function, column.collation, this, that) };
                equal.value() != 0
            }
            Equality::Text => {
                self.with_text(index, |this| other.with_text(index, |that| this == that))
            }
        }
    }
}

/// True for the types that [`Row::with_iso_time`] takes.
pub fn is_time(type_oid: pg_sys::Oid) -> bool {
    matches!(type_oid, pg_sys::DATEOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID)
}

/// The bytes of a varlena; a compressed or out-of-line value is fetched into the current memory
/// context.
///
/// # Safety
///
/// `datum` is a varlena that outlives `'v`, and so does the current memory context.
unsafe fn varlena_bytes<'v>(datum: pg_sys::Datum) -> &'v [u8] {
    let value = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: a varlena, by this function's contract.
    let is_plain = unsafe { !varlena::varatt_is_1b_e(value) && !varlena::varatt_is_4b_c(value) };
    let flat = if is_plain {
        value
    } else {
        // SAFETY: a varlena, by this function's contract.
        unsafe { pg_sys::pg_detoast_datum_packed(value) }
    };
    // SAFETY: neither compressed nor out of line now.
    unsafe { varlena::varlena_to_byte_slice(flat) }
}

/// True when two values are the same to the byte. TOAST pointers are compared as they are.
///
/// # Safety
///
/// Both are values of the column.
unsafe fn is_identical(column: &Column, this: pg_sys::Datum, that: pg_sys::Datum) -> bool {
    if column.by_value || this.value() == that.value() {
        return this.value() == that.value();
    }
    let (this, that) = (this.cast_mut_ptr::<u8>(), that.cast_mut_ptr::<u8>());
    let size = |value: *mut u8| match column.length {
        // SAFETY: -1 says varlena.
        -1 => unsafe { varlena::varsize_any(value.cast()) },
        // SAFETY: -2 says C string.
        -2 => unsafe { CStr::from_ptr(value.cast()) }.count_bytes(),
        length => ports::count(length),
    };
    // SAFETY: each value is as long as its type says.
    let bytes = |value: *mut u8| unsafe { std::slice::from_raw_parts(value, size(value)) };
    bytes(this) == bytes(that)
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "DatumGetInt16")]
fn read_int2(datum: pg_sys::Datum) -> i64 {
    i64::from(datum.value() as i16)
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "DatumGetInt32")]
fn read_int4(datum: pg_sys::Datum) -> i64 {
    i64::from(datum.value() as i32)
}

fn read_int8(datum: pg_sys::Datum) -> i64 {
    i64::from_ne_bytes(datum.value().to_ne_bytes())
}
