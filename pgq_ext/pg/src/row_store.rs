//! The result of a set-returning function, collected in a tuple store that spills to disk beyond
//! `work_mem`.

use pgrx::pg_sys;

use super::call::Call;
use super::index_scan::ScannedRow;
use super::ports;
use super::sql::{self, Refused, Under};
use super::value::Value;

/// Rows for the caller. Scanned rows begin with a bigint key; [`RowStore::finish`] puts them into
/// its order.
pub struct RowStore {
    store: *mut pg_sys::Tuplestorestate,
    desc: pg_sys::TupleDesc,
    last_key: i64,
    is_ordered: bool,
}

/// The result has a column of this name that the library has no value for, or not of its type.
#[derive(Debug)]
pub struct UnknownColumn(pub String);

impl RowStore {
    /// Make the running call's result a row store. Raises 0A000 where the caller cannot take a set.
    pub fn begin(call: &Call) -> Self {
        // SAFETY: the running call; it is declared with OUT arguments.
        let (store, desc) = unsafe { ports::begin_row_store(call.fcinfo()) };
        Self { store, desc, last_key: i64::MIN, is_ordered: true }
    }

    /// Add the given columns of a scanned row; the first of them is the key.
    pub fn push<const N: usize>(&mut self, row: &ScannedRow, columns: &[usize; N]) {
        let values = columns.map(|column| row.datum(column));
        let mut nulls = values.map(|value| value.is_none());
        let mut datums = values.map(|value| value.unwrap_or_else(pg_sys::Datum::null));
        let key = i64::from_ne_bytes(datums[0].value().to_ne_bytes());
        self.is_ordered &= key >= self.last_key;
        self.last_key = key;
        self.store(&mut datums, &mut nulls);
    }

    /// Add a row: for each column of the result the value that has its name. Values that the result
    /// has no column for are left out, as an older release of the SQL declares it.
    ///
    /// Error: there is none for a column, or of another type, as a newer release may declare it.
    pub fn put(&mut self, values: &[(&str, Value)]) -> Result<(), UnknownColumn> {
        // SAFETY: a row type lives as long as the call.
        let count = ports::count(unsafe { (*self.desc).natts });
        let mut row = Vec::with_capacity(count);
        for index in 0..count {
            // SAFETY: `index` is below the number of columns.
            let column = unsafe { &*ports::attribute(self.desc, index) };
            let name = pgrx::name_data_to_str(&column.attname);
            let value = values
                .iter()
                .find(|(known, value)| *known == name && value.is_of(column.atttypid))
                .ok_or_else(|| UnknownColumn(name.to_owned()))?;
            row.push(value.1);
        }
        let mut datums: Vec<_> = row.iter().map(|value| value.datum()).collect();
        let mut nulls: Vec<_> = row.iter().map(|value| value.is_null()).collect();
        self.store(&mut datums, &mut nulls);
        Ok(())
    }

    /// Add the rows of a query, which has the result's `N` columns and gives them in order. It runs
    /// as a statement of its own.
    pub fn fill_from_query<const N: usize>(&mut self, sql: &str) -> Result<(), Refused> {
        sql::connected(|connection| {
            let statement = connection.prepare(sql.as_bytes(), &[])?;
            let answer = statement.run(connection, &[], Under::Own)?;
            for record in answer.records() {
                let values = std::array::from_fn::<_, N, _>(|column| record.binary(column + 1));
                let mut datums = values.map(|(value, _)| value);
                self.store(&mut datums, &mut values.map(|(_, is_null)| is_null));
            }
            Ok(())
        })
    }

    /// Forget the rows added so far.
    pub fn clear(&mut self) {
        // SAFETY: the call's own store, which nobody reads yet.
        unsafe { pg_sys::tuplestore_clear(self.store) };
        (self.last_key, self.is_ordered) = (i64::MIN, true);
    }

    #[inline]
    fn store(&mut self, values: &mut [pg_sys::Datum], nulls: &mut [bool]) {
        // SAFETY: a row type lives as long as the call.
        let columns = ports::count(unsafe { (*self.desc).natts });
        assert!(values.len() == columns && nulls.len() == columns, "a value for each column");
        // SAFETY: as many values as columns; they have the columns' types, and are copied.
        unsafe {
            pg_sys::tuplestore_putvalues(
                self.store,
                self.desc,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            )
        };
    }

    /// Put the rows into the order of their keys, where they did not come that way.
    pub fn finish(self) {
        if !self.is_ordered {
            self.sort();
        }
    }

    fn sort(&self) {
        let mut column: pg_sys::AttrNumber = 1;
        let mut operator = pg_sys::Oid::from(pg_sys::Int8LessOperator);
        let mut collation = pg_sys::InvalidOid;
        let mut nulls_first = false;
        // SAFETY: a backend-local setting.
        let memory = unsafe { pg_sys::work_mem };
        // SAFETY: one sort key on the first column, a bigint; no parallel coordination.
        let sort = unsafe {
            pg_sys::tuplesort_begin_heap(
                self.desc,
                1,
                &mut column,
                &mut operator,
                &mut collation,
                &mut nulls_first,
                memory,
                std::ptr::null_mut(),
                ports::SORT_OPTIONS,
            )
        };
        // SAFETY: a slot for the rows of the store.
        let slot = unsafe {
            pg_sys::MakeSingleTupleTableSlot(self.desc, &raw const pg_sys::TTSOpsMinimalTuple)
        };
        // SAFETY: reads the store from its start into the slot, which the sort copies from.
        unsafe {
            pg_sys::tuplestore_rescan(self.store);
            while pg_sys::tuplestore_gettupleslot(self.store, true, false, slot) {
                pg_sys::tuplesort_puttupleslot(sort, slot);
            }
            pg_sys::tuplesort_performsort(sort);
            pg_sys::tuplestore_clear(self.store);
        }
        // SAFETY: moves the sorted rows into the emptied store; no abbreviated keys are asked for.
        unsafe {
            while pg_sys::tuplesort_gettupleslot(sort, true, false, slot, std::ptr::null_mut()) {
                pg_sys::tuplestore_puttupleslot(self.store, slot);
            }
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            pg_sys::tuplesort_end(sort);
        }
    }
}
