//! One firing, from the checks to the event, in the order that users of PgQ see errors in.

use std::rc::Rc;

use pgq_core::capture::options::Field;

use super::capture::Capture;
use super::data::{self, Change};
use super::format::{Format, word};
use super::overrides::{self, Fields};
use super::scratch::{self, Scratch};
use super::{cache, publish};
use crate::error::PgqError;
use pgq_pg::call::{Call, Returned};
use pgq_pg::setting;
use pgq_pg::trigger::{Operation, TriggerCall, Version};

/// A trigger has fired.
pub(crate) fn fire(format: Format, call: &Call) -> Result<Returned, PgqError> {
    let call = TriggerCall::of(call).ok_or(PgqError::NotATrigger(format.function()))?;
    if setting::is_local_role() {
        return Ok(go_on(&call, false));
    }
    let operation = check_call(format, &call)?;
    let capture = cache::lookup(format, &call)?;
    check_options(&capture, &call, operation)?;
    scratch::with(|scratch| capture_change(&capture, &call, operation, scratch))?;
    Ok(go_on(&call, capture.options.skip))
}

/// What the executor gets: after the fact nothing; before it the row, or nothing to suppress the
/// operation.
fn go_on(call: &TriggerCall<'_>, skip: bool) -> Returned {
    if call.is_after() || skip { Returned::Done } else { Returned::Row(call.result_row()) }
}

fn check_call(format: Format, call: &TriggerCall<'_>) -> Result<Operation, PgqError> {
    let operation = call.operation();
    match (operation == Some(Operation::Truncate), call.is_row_level()) {
        (true, true) => return Err(PgqError::TruncatePerRow),
        (false, false) => return Err(PgqError::ChangePerStatement),
        _ => {}
    }
    let arguments = call.arguments().len();
    if arguments == 0 {
        return Err(PgqError::NoQueue);
    }
    let operation = operation.ok_or(PgqError::UnknownEvent)?;
    if format == Format::Kinds {
        if !(2..=3).contains(&arguments) {
            return Err(PgqError::KindArguments);
        }
        if !call.is_after() {
            return Err(PgqError::KindsNotAfter);
        }
    }
    Ok(operation)
}

fn check_options(
    capture: &Rc<Capture>,
    call: &TriggerCall<'_>,
    operation: Operation,
) -> Result<(), PgqError> {
    let options = &capture.options;
    match operation {
        Operation::Truncate if options.has_expressions() => {
            return Err(PgqError::TruncateExpression);
        }
        Operation::Truncate if options.ignore.is_some() => {
            return Err(PgqError::TruncateIgnore);
        }
        Operation::Truncate if options.key.is_some() => return Err(PgqError::TruncateKey),
        Operation::Truncate if options.backup => return Err(PgqError::TruncateBackup),
        Operation::Update | Operation::Delete if !capture.has_key => {
            return Err(PgqError::NoKey { table: capture.table_name() });
        }
        _ => {}
    }
    if options.skip && call.is_after() {
        return Err(PgqError::SkipAfter);
    }
    if options.deny {
        return Err(PgqError::Denied {
            table: capture.table_name(),
            queue: setting::for_message(capture.queue.bytes()),
            operation: word(operation),
        });
    }
    Ok(())
}

/// Build the event and store it, unless nothing of interest has changed.
fn capture_change(
    capture: &Capture,
    call: &TriggerCall<'_>,
    operation: Operation,
    scratch: &mut Scratch,
) -> Result<(), PgqError> {
    let mut fields = Fields::default();
    fields.set(Field::Type, Some(capture.event_type(operation).text()));
    fields.set(Field::Extra1, Some(capture.table.text()));
    let Scratch { data, backup } = scratch;
    let too_large = |problem| capture.too_large(problem);

    let whole = capture.shape.columns().len();
    let old_end = if operation == Operation::Update { capture.old_end } else { whole };
    let old = call.row(Version::Old, &capture.shape, old_end);
    let new = call.row(Version::New, &capture.shape, whole);
    let change = match (old, new) {
        (None, Some(new)) => Change::Insert { new },
        (Some(old), Some(new)) => Change::Update { old, new },
        (Some(old), None) => Change::Delete { old },
        (None, None) => {
            fields.set(Field::Data, Some(capture.truncate_data.text()));
            return publish::publish(capture, &fields);
        }
    };
    if !data::write(capture, &change, data.begin())? {
        return Ok(());
    }
    fields.set(Field::Data, Some(data.text().map_err(too_large)?));
    if let Change::Update { old, .. } = &change
        && capture.options.backup
    {
        data::write_backup(capture, old, backup.begin());
        fields.set(Field::Extra2, Some(backup.text().map_err(too_large)?));
    }
    if overrides::apply(capture, &change.row(), &mut fields)? {
        publish::publish(capture, &fields)?;
    }
    Ok(())
}
