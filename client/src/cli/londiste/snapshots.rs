//! Two nodes at the same tick: all that one of them has, the other has, and no more.

use std::time::{Duration, Instant};

use pgq_client::Error;
use pgq_replica::name;

use super::set::Set;
use super::site::Site;

/// Between looks at the subscriber: it is at a tick only until it has applied the next one.
const LOOK: Duration = Duration::from_millis(1);
/// After so many looks they become rare.
const OFTEN: u32 = 2000;
const SELDOM: Duration = Duration::from_millis(50);

/// Sessions in transactions that see a table in the same state.
pub(super) struct Pair {
    pub(super) there: Site,
    pub(super) here: Site,
}

const SEE: &str = "begin isolation level repeatable read read only";

/// Find such a state without keeping anybody from writing; where the provider is a root of
/// upstream's, its table is locked against writes until the node has what is in it.
pub(super) fn of_table(
    set: &mut Set,
    provider: &str,
    (table_there, table): (&str, &str),
    force: bool,
) -> anyhow::Result<Pair> {
    const OURS: &str =
        "select pg_catalog.to_regprocedure('pgq._tick_on_demand(text)')::pg_catalog.text";
    let settings = &set.settings;
    let location = set.member(provider)?.location.clone();
    let mut there = settings.there(provider, &location)?;
    let mut here = settings.here()?;
    here.rename(&set.own.node_name);
    let limit = (!force).then(|| Instant::now() + settings.commands.lock_timeout);
    let late = || -> anyhow::Error {
        Error::Cascade(format!(
            "table \"{table}\": node \"{}\" lags too much behind node \"{provider}\"; hint: does its worker run? --force waits on",
            set.own.node_name
        ))
        .into()
    };
    let is_root = there.info(&set.queue)?.is_some_and(|info| info.is_root());
    if is_root && there.value(OURS, &[])?.is_none() {
        let mut lock = settings.there(provider, &location)?;
        lock_and_wait(&mut lock, &mut there, &mut here, &set.queue, table_there, limit)?
            .then_some(())
            .ok_or_else(late)?;
        lock.run("commit")?;
        return Ok(Pair { there, here });
    }
    let mut looks = 0_u32;
    loop {
        let tick = match is_root {
            true => at_new_tick(settings.there(provider, &location)?, &mut there, &set.queue)?,
            false => {
                there.run(SEE)?;
                completed(&mut there, &set.queue)?
            }
        };
        loop {
            here.run(SEE)?;
            let own = completed(&mut here, &set.queue)?;
            if own == tick {
                return Ok(Pair { there, here });
            }
            here.run("rollback")?;
            if limit.is_some_and(|limit| Instant::now() > limit) {
                return Err(late());
            }
            looks += 1;
            std::thread::sleep(if looks < OFTEN { LOOK } else { SELDOM });
            if own > tick {
                break;
            }
        }
        there.run("rollback")?;
    }
}

/// The tick up to which a node has applied all.
fn completed(site: &mut Site, queue: &str) -> anyhow::Result<i64> {
    const TICK: &str = "select n.worker_last_tick::pg_catalog.text
                          from pgq_node.get_node_info($1) n
                         where n.worker_last_tick is not null";
    let rows = site.rows(TICK, &[queue.into()])?;
    Ok(rows.first().map(|row| row.number(0)).transpose()?.unwrap_or(0))
}

/// Lay a tick on the root whose snapshot is the reader's.
fn at_new_tick(mut ticker: Site, reader: &mut Site, queue: &str) -> anyhow::Result<i64> {
    const TICK: &str = "select pgq.ticker($1)::pg_catalog.text";
    const EXPORT: &str = "select pg_catalog.pg_export_snapshot()";
    loop {
        ticker.rows("select pgq.force_tick($1)::pg_catalog.text", &[queue.into()])?;
        ticker.run("begin isolation level repeatable read")?;
        // None: somebody else has laid one meanwhile, which this snapshot does not see.
        if let Some(tick) = ticker.value(TICK, &[queue.into()])? {
            let snapshot = ticker.value(EXPORT, &[])?.unwrap_or_default();
            reader.run(&format!("{SEE}; set transaction snapshot {}", name::literal(&snapshot)))?;
            ticker.run("commit")?;
            return Ok(tick.parse()?);
        }
        ticker.run("rollback")?;
    }
}

/// As upstream does it. False when it takes too long.
fn lock_and_wait(
    lock: &mut Site,
    there: &mut Site,
    here: &mut Site,
    queue: &str,
    table: &str,
    limit: Option<Instant>,
) -> anyhow::Result<bool> {
    let left = limit.map(|limit| limit.saturating_duration_since(Instant::now()).as_millis());
    let most = left.map(|left| format!("; set local lock_timeout = {}", left.max(1)));
    lock.run(&format!("begin{}", most.unwrap_or_default()))?;
    lock.run(&format!("lock table only {} in share mode", name::quoted(table)))?;
    const FORCE: &str = "select pgq.force_tick($1)::pg_catalog.text";
    let number = |text: Option<String>| text.unwrap_or_default().parse::<i64>();
    let before = number(there.value(FORCE, &[queue.into()])?)?;
    loop {
        // A tick that was laid after the lock was taken.
        let newest = number(there.value(FORCE, &[queue.into()])?)?;
        if newest > before && completed(here, queue)? > before {
            there.run(SEE)?;
            here.run(SEE)?;
            completed(there, queue)?;
            completed(here, queue)?;
            return Ok(true);
        }
        if limit.is_some_and(|limit| Instant::now() > limit) {
            return Ok(false);
        }
        std::thread::sleep(SELDOM);
    }
}
