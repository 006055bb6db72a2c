//! The trigger protocol: what fired, on which table, with which rows.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::call::{Call, ResultRow};
use super::ports;
use super::relation::Relation;
use super::row::{Row, Shape};

/// The statement that fired a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// TRUNCATE.
    Truncate,
}

/// Which version of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// As it was before the statement. There is one for UPDATE and DELETE.
    Old,
    /// As the statement makes it. There is one for INSERT and UPDATE.
    New,
}

/// One firing of a trigger.
pub struct TriggerCall<'c> {
    data: &'c pg_sys::TriggerData,
    trigger: &'c pg_sys::Trigger,
}

impl<'c> TriggerCall<'c> {
    /// The trigger data of a call; None when the function was not called by the trigger manager.
    pub fn of(call: &'c Call) -> Option<Self> {
        // SAFETY: the call information is valid during the call (contract of `Call`).
        let context = unsafe { (*call.fcinfo()).context };
        // SAFETY: a context is null or a node, whose tag is its first field.
        if context.is_null() || unsafe { (*context).type_ } != pg_sys::NodeTag::T_TriggerData {
            return None;
        }
        // SAFETY: the tag says so; the trigger manager keeps it during the call.
        let data = unsafe { &*context.cast::<pg_sys::TriggerData>() };
        // SAFETY: the trigger manager always sets it.
        let trigger = unsafe { &*data.tg_trigger };
        Some(Self { data, trigger })
    }

    /// The statement; None for one that this code does not know.
    pub fn operation(&self) -> Option<Operation> {
        match self.data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_INSERT => Some(Operation::Insert),
            pg_sys::TRIGGER_EVENT_UPDATE => Some(Operation::Update),
            pg_sys::TRIGGER_EVENT_DELETE => Some(Operation::Delete),
            pg_sys::TRIGGER_EVENT_TRUNCATE => Some(Operation::Truncate),
            _ => None,
        }
    }

    /// True for FOR EACH ROW.
    pub fn is_row_level(&self) -> bool {
        self.data.tg_event & pg_sys::TRIGGER_EVENT_ROW != 0
    }

    /// True for AFTER; false for BEFORE and INSTEAD OF.
    pub fn is_after(&self) -> bool {
        self.data.tg_event & pg_sys::TRIGGER_EVENT_TIMINGMASK == pg_sys::TRIGGER_EVENT_AFTER
    }

    /// Identity of the trigger. A partition has a trigger of its own.
    pub fn trigger_oid(&self) -> pg_sys::Oid {
        self.trigger.tgoid
    }

    /// The table.
    pub fn relation(&self) -> Relation<'c> {
        // SAFETY: the trigger manager keeps the relation open and locked during the call.
        unsafe { Relation::new(&*self.data.tg_relation) }
    }

    /// The arguments of CREATE TRIGGER.
    pub fn arguments(&self) -> impl ExactSizeIterator<Item = &'c [u8]> {
        let count = ports::count(self.trigger.tgnargs);
        let arguments = self.trigger.tgargs;
        (0..count).map(move |index| {
            // SAFETY: the trigger has `tgnargs` arguments.
            let argument = unsafe { *arguments.add(index) };
            // SAFETY: each is a C string that lives as long as the relation is open.
            unsafe { CStr::from_ptr(argument) }.to_bytes()
        })
    }

    /// Take the row apart, as far as the column before `end`; a later one must not be asked for.
    /// None when the statement has no such version.
    ///
    /// `shape` is that of [`TriggerCall::relation`] as it is now.
    pub fn row<'r>(&self, version: Version, shape: &'r Shape, end: usize) -> Option<Row<'r>>
    where
        'c: 'r,
    {
        if !self.is_row_level() {
            return None;
        }
        let slot = match (self.operation()?, version) {
            (Operation::Insert, Version::New)
            | (Operation::Update | Operation::Delete, Version::Old) => self.data.tg_trigslot,
            (Operation::Update, Version::New) => self.data.tg_newslot,
            _ => return None,
        };
        // SAFETY: the trigger manager put this row version of the relation there, and leaves it
        // alone during the call.
        Some(unsafe { Row::read(slot, shape, end) })
    }

    /// The row to return where the operation shall go on.
    pub fn result_row(&self) -> ResultRow {
        if self.operation() == Some(Operation::Update) {
            ResultRow(self.data.tg_newtuple)
        } else {
            ResultRow(self.data.tg_trigtuple)
        }
    }
}
