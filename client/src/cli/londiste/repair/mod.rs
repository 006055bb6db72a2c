//! `repair`: rows here become as they are above.

mod columns;
mod differences;
mod fix;

use pgq_client::Error;
use pgq_client::postgres::error::SqlState;
use pgq_replica::name;

use super::add_table::{find as find_source, tables_of};
use super::compare::{FORM, chosen};
use super::pause;
use super::set::{Set, Settings};
use super::site::Site;
use super::snapshots::{self, Pair};
use crate::cli::output::visible;
use crate::cli::{Exit, output};
use columns::Columns;
use differences::{Difference, find};
use fix::{Fix, Fixes, Writer, plan};

/// More rows than that are no slip.
const MOST: usize = 100_000;

/// Tables for `repair`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Repair {
    /// Tables; by default all that are in sync
    tables: Vec<String>,
    /// Write the rows; without, the statements that would are printed
    #[arg(long)]
    apply: bool,
    /// Only rows for which this SQL is true, on both sides; names need their schemas
    #[arg(long, value_name = "EXPRESSION")]
    repair_where: Option<String>,
    /// Wait for a node that lags for as long as it takes
    #[arg(long)]
    force: bool,
}

/// `repair`; the exit code is the number of tables whose rows still differ.
pub(super) fn tables(settings: Settings, options: &Repair) -> anyhow::Result<Exit> {
    let set = &mut settings.compare()?;
    let mut differ = 0;
    for (table, here) in chosen(set, &options.tables)? {
        if !one(set, options, &table, &here)? {
            differ += 1;
        }
    }
    Ok(Exit::differ(differ))
}

/// Are the rows the same now?
fn one(set: &mut Set, options: &Repair, table: &str, here: &str) -> anyhow::Result<bool> {
    let source = find_source(set, &[table.to_owned()])?;
    let queue = set.queue.clone();
    let there = tables_of(set.site(&source)?, &queue)?;
    let there = there.get(table).map_or(table, |known| known.here.as_str()).to_owned();
    let mut pair = snapshots::of_table(set, &source, (&there, table), options.force)?;
    let Pair { there: above, here: own } = &mut pair;
    for site in [&mut *above, &mut *own] {
        site.run(FORM)?;
    }
    let columns = Columns::read((above, &there), (own, here))?;
    let only = options.repair_where.as_deref();
    let found = find((above, &there), (own, here), &columns, only, MOST)?.ok_or_else(|| {
        Error::Cascade(format!(
            "table \"{table}\": more than {MOST} rows differ; hint: resync copies it anew"
        ))
    })?;
    let writer = Writer { table: name::quoted(here), columns: &columns };
    if !options.apply {
        let fixes = plan((above, &there), (own, here), &columns, &found, false)?;
        for fix in &fixes.all {
            output::line(&format!("{};", writer.statement(fix)))?;
        }
        output::line(&format!("-- {}", visible(&told(table, &fixes.all))))?;
        return Ok(found.is_empty());
    }
    for site in [above, own] {
        site.run("commit")?;
    }
    let fixes = match found.is_empty() {
        true => Fixes::default(),
        false => apply(set, pair, (&there, here), &writer, &found)?,
    };
    output::line(&told(table, &fixes.all))?;
    if fixes.changed > 0 {
        log::warn!(
            "table \"{table}\": rows that were written meanwhile are left alone: {}; hint: repair it again",
            fixes.changed
        );
    }
    Ok(fixes.changed == 0)
}

fn told(table: &str, fixes: &[Fix]) -> String {
    let count = |is: fn(&Fix) -> bool| fixes.iter().filter(|fix| is(fix)).count();
    format!(
        "{table}: {} inserts, {} updates, {} deletes",
        count(|fix| matches!(fix, Fix::Insert { .. })),
        count(|fix| matches!(fix, Fix::Update { .. })),
        count(|fix| matches!(fix, Fix::Delete { .. }))
    )
}

/// Write the rows while the node's worker pauses: then all that is written here is ours.
fn apply(
    set: &mut Set,
    mut pair: Pair,
    (there, here): (&str, &str),
    writer: &Writer<'_>,
    found: &[Difference],
) -> anyhow::Result<Fixes> {
    let (node, lock_timeout) =
        (set.own.node_name.clone(), set.settings.commands.lock_timeout.as_millis());
    let (undo, mark) = (set.undo(), set.undo().mark());
    let done = pause::hold(set, &node, "repair").and_then(|()| {
        let Pair { there: above, here: own } = &mut pair;
        above.run(&format!("begin isolation level repeatable read read only; {FORM}"))?;
        own.run(&format!("begin; {FORM}; set local lock_timeout = {lock_timeout}"))?;
        let role = "select londiste.set_session_replication_role('replica', true)::text";
        own.rows(role, &[])?;
        let fixes = plan((above, there), (own, here), writer.columns, found, true)?;
        write(own, writer, &fixes.all)?;
        own.run("commit")?;
        Ok(fixes)
    });
    match &done {
        Ok(_) => {
            let ended = pause::let_go(set, &node);
            match ended {
                Ok(()) => drop(undo.take(mark)),
                Err(_) => undo.back_to(mark),
            }
            ended?;
        }
        Err(_) => {
            pair.here.roll_back();
            undo.back_to(mark);
        }
    }
    done
}

/// Write the rows; where one is in the way of another by a constraint, in another order.
fn write(own: &mut Site, writer: &Writer<'_>, fixes: &[Fix]) -> anyhow::Result<()> {
    own.run("savepoint one_by_one")?;
    let order = |fix: &&Fix| match fix {
        Fix::Delete { .. } => 0,
        Fix::Update { .. } => 1,
        Fix::Insert { .. } => 2,
    };
    let mut ordered: Vec<_> = fixes.iter().collect();
    ordered.sort_by_key(order);
    let written = ordered.iter().try_for_each(|fix| own.run(&writer.statement(fix)));
    let Err(error) = written else { return Ok(()) };
    let clashes = error.chain().filter_map(|cause| cause.downcast_ref::<Error>()).any(|error| {
        let states = [SqlState::UNIQUE_VIOLATION, SqlState::EXCLUSION_VIOLATION];
        states.iter().any(|state| error.sqlstate() == Some(state.code()))
    });
    // What only this side has would be lost.
    if !clashes || !writer.columns.are_all {
        return Err(error);
    }
    own.run("rollback to savepoint one_by_one")?;
    let (deletes, inserts): (Vec<_>, Vec<_>) = fixes.iter().map(|fix| writer.whole(fix)).unzip();
    deletes.iter().chain(&inserts).flatten().try_for_each(|statement| own.run(statement))
}
