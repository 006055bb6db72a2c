//! Facts about an open relation: its name, its columns, its primary key.

use std::ffi::CStr;
use std::marker::PhantomData;

use pgrx::pg_sys;

use super::heap::oids_of;
use super::{constants, ports};

/// A relation that somebody else keeps open.
#[derive(Clone, Copy)]
pub struct Relation<'c> {
    relation: pg_sys::Relation,
    open: PhantomData<&'c ()>,
}

/// A column as the catalog has it.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name, in the database's encoding.
    pub name: Vec<u8>,
    /// Its type.
    pub type_oid: pg_sys::Oid,
    /// Its collation.
    pub collation: pg_sys::Oid,
    /// Length of the type's values; -1 varlena, -2 C string.
    pub length: i16,
    /// Values are in the datum itself.
    pub by_value: bool,
    /// False for a dropped column, and for a virtual generated one, which has no value in the row.
    pub has_value: bool,
    /// False for a dropped column only.
    pub is_live: bool,
}

impl<'c> Relation<'c> {
    /// # Safety
    ///
    /// The relation stays open and locked during `'c`.
    pub(crate) unsafe fn new(relation: &'c pg_sys::RelationData) -> Self {
        Self { relation: std::ptr::from_ref(relation).cast_mut(), open: PhantomData }
    }

    /// Its object id.
    pub fn oid(self) -> pg_sys::Oid {
        // SAFETY: open during the value's life.
        unsafe { (*self.relation).rd_id }
    }

    /// Name of the relation, without its schema.
    pub fn name(self) -> Vec<u8> {
        // SAFETY: an open relation has its pg_class row.
        let name = unsafe { &(*(*self.relation).rd_rel).relname };
        name_bytes(name)
    }

    /// Name of its schema.
    pub fn schema(self) -> Vec<u8> {
        // SAFETY: an open relation has its pg_class row.
        let namespace = unsafe { (*(*self.relation).rd_rel).relnamespace };
        // SAFETY: returns null or a string in the current memory context.
        let name = unsafe { pg_sys::get_namespace_name(namespace) };
        if name.is_null() {
            return Vec::new();
        }
        // SAFETY: not null, so a C string.
        unsafe { CStr::from_ptr(name) }.to_bytes().to_vec()
    }

    /// Number of columns, dropped ones included.
    pub fn column_count(self) -> usize {
        // SAFETY: an open relation has its row type.
        let count = unsafe { (*self.tuple_desc()).natts };
        ports::count(count)
    }

    /// All columns in order, dropped ones included.
    pub fn columns(self) -> Vec<Column> {
        (0..self.column_count())
            .map(|index| {
                // SAFETY: `index` is below the number of attributes of the open relation.
                let attribute = unsafe { &*ports::attribute(self.tuple_desc(), index) };
                Column {
                    name: name_bytes(&attribute.attname),
                    type_oid: attribute.atttypid,
                    collation: attribute.attcollation,
                    length: attribute.attlen,
                    by_value: attribute.attbyval,
                    has_value: !attribute.attisdropped && !is_virtual(attribute),
                    is_live: !attribute.attisdropped,
                }
            })
            .collect()
    }

    /// Columns of the primary key in the key's order, counted from 0. Empty without a primary key.
    ///
    /// Columns that the index merely includes are not part of the key. A deferrable key is a key.
    pub fn primary_key(self) -> Vec<usize> {
        self.indexes().into_iter().find_map(primary_key_columns).unwrap_or_default()
    }

    fn indexes(self) -> Vec<pg_sys::Oid> {
        // SAFETY: the relation is open and locked; the list is a copy in the current memory
        // context.
        let list = unsafe { pg_sys::RelationGetIndexList(self.relation) };
        // SAFETY: a list of oids, as RelationGetIndexList makes it; null is the empty list.
        unsafe { oids_of(list) }
    }

    /// The row type.
    pub(crate) fn tuple_desc(self) -> pg_sys::TupleDesc {
        // SAFETY: open during the value's life.
        unsafe { (*self.relation).rd_att }
    }
}

/// The key columns of an index, counted from 0, if it is a primary key.
fn primary_key_columns(index: pg_sys::Oid) -> Option<Vec<usize>> {
    let cache = constants::cache::INDEX;
    // SAFETY: the key of this cache is an oid.
    let tuple = unsafe { pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(index)) };
    if tuple.is_null() {
        return None;
    }
    // SAFETY: a row of pg_index, pinned until it is released below.
    let form = unsafe { &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_index>() };
    let count = ports::count(form.indnkeyatts);
    let column = |position| {
        // SAFETY: indkey has at least `indnkeyatts` elements.
        let number = unsafe { *form.indkey.values.as_ptr().add(position) };
        usize::try_from(number).ok()?.checked_sub(1)
    };
    let key = form.indisprimary.then(|| (0..count).filter_map(column).collect());
    // SAFETY: found above.
    unsafe { pg_sys::ReleaseSysCache(tuple) };
    key
}

/// A virtual generated column (PostgreSQL 18) is computed when read; rows do not hold it.
fn is_virtual(attribute: &pg_sys::FormData_pg_attribute) -> bool {
    u8::try_from(attribute.attgenerated) == Ok(b'v')
}

fn name_bytes(name: &pg_sys::NameData) -> Vec<u8> {
    // SAFETY: a name is a C string that fits its array.
    unsafe { CStr::from_ptr(name.data.as_ptr()) }.to_bytes().to_vec()
}

/// An identifier as SQL needs it: quoted where it must be, or always under `quote_all_identifiers`.
pub fn quote_identifier(name: &[u8]) -> Vec<u8> {
    let mut text = name.to_vec();
    text.push(0);
    // SAFETY: `text` is a C string; the result is it or a copy in the current memory context.
    let quoted = unsafe { CStr::from_ptr(pg_sys::quote_identifier(text.as_ptr().cast())) };
    quoted.to_bytes().to_vec()
}
