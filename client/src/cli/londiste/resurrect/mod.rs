//! A root that was lost is back, and becomes a branch of the set that went on without it.

mod events;

use std::path::PathBuf;

use anyhow::Context as _;
use pgq_client::Error;
use pgq_replica::Row;

use super::provider::register;
use super::set::Set;
use super::site::{Site, is_unknown};
use super::takeover::{gravestone, keep_others_away};
use crate::cli::{Exit, output};
use events::Lost;

/// Where what was lost goes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Resurrect {
    /// File for the events that nobody else has, one object of JSON a line; it must not be there
    #[arg(long, value_name = "FILE", default_value = "resurrect-lost-events.json")]
    events: PathBuf,
}

/// Where the node has left its set.
struct Grave {
    /// The node that has kept its place.
    node: String,
    tick: i64,
}

/// `resurrect`.
pub(super) fn resurrect(set: &mut Set, options: &Resurrect) -> anyhow::Result<Exit> {
    let own = set.own.node_name.clone();
    if set.own.is_leaf() {
        let what = format!("node \"{own}\" is a leaf, and was never the root");
        return Err(Error::Config(what).into());
    }
    let grave = find_grave(set)?;
    for node in [&own, &grave.node] {
        keep_others_away(set, node)?;
    }
    set.own = set.info(&own)?;
    has_another_root(set, &grave.node)?;
    let follows = set.own.provider_node.as_deref() == Some(&*grave.node);
    if set.own.is_root() {
        bury(set, &grave, options)?;
    } else if !follows || set.own.tick() != grave.tick {
        // It would have to be where it left, by our own hands.
        let what = format!(
            "node \"{own}\" is a branch already, and not as this command leaves it; hint: drop it, and make it anew"
        );
        return Err(Error::Cascade(what).into());
    }
    join(set, &grave)
        .context("the node is a branch now; hint: run resurrect again, and it goes on")?;
    output::line(&format!(
        "node \"{own}\" of queue \"{}\" reads from node \"{}\" from tick {} on, and is paused",
        set.queue, grave.node, grave.tick
    ))?;
    Ok(Exit::Ok)
}

/// Ask the nodes that live for the place of this one.
fn find_grave(set: &mut Set) -> anyhow::Result<Grave> {
    const PLACE: &str = "
        select c.last_tick::pg_catalog.text
          from pgq_node.get_subscriber_info($1) s
               cross join pgq.get_consumer_info($1, s.worker_name) c
         where s.node_name operator(pg_catalog.=) $2
           and s.worker_name operator(pg_catalog.=) $3";
    let (queue, own) = (set.queue.clone(), set.own.node_name.clone());
    let stone = gravestone(&own);
    let names: Vec<_> = set.members.keys().filter(|name| **name != own).cloned().collect();
    let mut found = Vec::new();
    for name in names {
        if !set.is_alive(&name) {
            continue;
        }
        let values = [queue.as_str().into(), own.as_str().into(), stone.as_str().into()];
        match set.site(&name).and_then(|site| site.rows(PLACE, &values)) {
            Ok(rows) => {
                for row in rows {
                    found.push(Grave { node: name.clone(), tick: row.number(0)? });
                }
            }
            Err(error) => log::warn!("node \"{name}\" is not asked: {error:#}"),
        }
    }
    let second = found.pop();
    match (second, found.pop()) {
        (Some(grave), None) => Ok(grave),
        (Some(one), Some(other)) => {
            let what = format!(
                "nodes \"{}\" and \"{}\" both have a place for node \"{own}\": its set has fallen apart",
                other.node, one.node
            );
            Err(Error::Cascade(what).into())
        }
        (None, _) => Err(Error::Absent(format!(
            "no node has consumer \"{stone}\", which takeover --dead-root leaves: nobody has taken the place of node \"{own}\" so"
        ))
        .into()),
    }
}

/// Refuse unless the set has a root, which is not this node.
fn has_another_root(set: &mut Set, node: &str) -> anyhow::Result<()> {
    let own = set.own.node_name.clone();
    let (mut name, mut most) = (node.to_owned(), set.members.len());
    while name != own && most > 0 {
        let info = set.info(&name)?;
        match info.provider_node {
            _ if info.is_root() => return Ok(()),
            Some(provider) => name = provider,
            None => break,
        }
        most -= 1;
    }
    let what = format!("node \"{node}\" reads from no root but node \"{own}\"");
    Err(Error::Cascade(what).into())
}

/// A tick of the queue here.
struct Tick {
    time: String,
    event: String,
}

fn tick_of(site: &mut Site, queue: &str, tick: i64) -> anyhow::Result<Tick> {
    const TICK: &str = "
        select t.tick_time::pg_catalog.text, t.tick_event_seq::pg_catalog.text
          from pgq.tick t
               join pgq.queue q on q.queue_id operator(pg_catalog.=) t.tick_queue
         where q.queue_name operator(pg_catalog.=) $1
           and t.tick_id operator(pg_catalog.=) $2::pg_catalog.int8";
    let number = tick.to_string();
    let rows = site.rows(TICK, &[queue.into(), number.as_str().into()])?;
    let none = || {
        Error::Absent(format!(
            "queue \"{queue}\" has no tick {tick} any more, at which its node has left the set; hint: drop the node, and make it anew"
        ))
    };
    let row = rows.first().ok_or_else(none)?;
    Ok(Tick { time: row.text(0)?.to_owned(), event: row.text(1)?.to_owned() })
}

/// The root gives up what nobody else has, and becomes a branch that has what the set has of it.
fn bury(set: &mut Set, grave: &Grave, options: &Resurrect) -> anyhow::Result<()> {
    let (queue, own) = (set.queue.clone(), set.own.node_name.clone());
    let tick = tick_of(&mut set.here, &queue, grave.tick)?;
    let mut lost = Lost::create(&options.events)?;
    let (undo, mark) = (set.undo(), set.undo().mark());
    let of = queue.clone();
    set.put_back_on(
        &own,
        format!("node \"{own}\" is a root as before"),
        format!("call pgq_node.cancel_demote('{queue}')"),
        move |site| {
            events::leave(site, &of)?;
            Ok(site.must("null", "pgq_node.cancel_demote($1)", &[of.as_str().into()])?.code == 200)
        },
    )?;
    // After the second step nobody writes any more.
    let given_up = demote(&mut set.here, &queue, 1, &own)
        .and_then(|()| demote(&mut set.here, &queue, 2, &own))
        .and_then(|()| lost.read(&mut set.here, &queue, grave.tick))
        .and_then(|()| set.here.run("begin isolation level read committed"))
        .and_then(|()| become_branch(set, grave, &tick));
    if let Err(error) = given_up {
        set.here.roll_back();
        undo.back_to(mark);
        lost.forget();
        return Err(error);
    }
    let steps = undo.take(mark);
    let ended = set.here.run("commit");
    match &ended {
        Ok(()) => lost.tell(&options.events)?,
        Err(error) if is_unknown(error) => {
            log::warn!("whether the node has become a branch is not known; hint: resurrect again");
        }
        Err(_) => {
            set.here.roll_back();
            undo.give(steps);
            undo.back_to(mark);
            lost.forget();
        }
    }
    ended
}

fn demote(site: &mut Site, queue: &str, step: i32, provider: &str) -> anyhow::Result<()> {
    let step = step.to_string();
    let values = [queue.into(), step.as_str().into(), provider.into()];
    site.must("null", "pgq_node.demote_root($1, $2::pg_catalog.int4, $3)", &values)?;
    Ok(())
}

/// All settings of a queue, whatever release its tables are of, as `pgq.set_queue_config` takes
/// them. Who ticks it, its kind of node says.
fn settings(site: &mut Site, queue: &str) -> anyhow::Result<Vec<Row>> {
    const OF_QUEUE: &str = "
        select pg_catalog.substr(s.key, 7), s.value
          from pgq.queue q
               cross join lateral pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(q)) s
         where q.queue_name operator(pg_catalog.=) $1
           and s.key in ('queue_ticker_max_count', 'queue_ticker_max_lag',
                         'queue_ticker_idle_period', 'queue_rotation_period',
                         'queue_batch_max_count')
           and s.value is not null";
    const HAS_OPTIONS: &str =
        "select (pg_catalog.to_regclass('pgq.queue_option') is not null)::pg_catalog.text";
    const OPTIONS: &str = "
        select pg_catalog.substr(s.key, 5), s.value
          from pgq.queue q
               join pgq.queue_option o on o.opt_queue operator(pg_catalog.=) q.queue_id
               cross join lateral pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(o)) s
         where q.queue_name operator(pg_catalog.=) $1
           and s.key operator(pg_catalog.<>) 'opt_queue'
           and s.value is not null";
    let mut settings = site.rows(OF_QUEUE, &[queue.into()])?;
    let has_options = site.rows(HAS_OPTIONS, &[])?;
    if has_options.first().map(|row| row.flag(0)).transpose()? == Some(true) {
        settings.extend(site.rows(OPTIONS, &[queue.into()])?);
    }
    Ok(settings)
}

/// In a transaction: a queue that ends with the grave's tick takes the place of this one, whose
/// readers go with it.
fn become_branch(set: &mut Set, grave: &Grave, tick: &Tick) -> anyhow::Result<()> {
    let (queue, worker) = (set.queue.clone(), set.own.worker_name.clone());
    let queue = queue.as_str();
    let site = &mut set.here;
    let settings = settings(site, queue)?;
    for node in super::drop::subscribers(site, queue)? {
        site.call("pgq_node.unregister_subscriber($1, $2)", &[queue.into(), node.as_str().into()])?;
    }
    site.rows("select pgq.drop_queue($1, true)::pg_catalog.text", &[queue.into()])?;
    site.rows("select pgq.create_queue($1)::pg_catalog.text", &[queue.into()])?;
    for row in settings {
        let set = "select pgq.set_queue_config($1, $2, $3)::pg_catalog.text";
        site.rows(set, &[queue.into(), row.text(0)?.into(), row.text(1)?.into()])?;
    }
    demote(site, queue, 1, &grave.node)?;
    let number = grave.tick.to_string();
    if grave.tick > 1 {
        const LAY: &str = "select pgq.ticker($1, $2::pg_catalog.int8, $3::pg_catalog.timestamptz,
                                             $4::pg_catalog.int8)::pg_catalog.text";
        let values = [
            queue.into(),
            number.as_str().into(),
            tick.time.as_str().into(),
            tick.event.as_str().into(),
        ];
        site.rows(LAY, &values)?;
    }
    const WATERMARK: &str = "select pgq.register_consumer_at($1, '.global_watermark',
                                        $2::pg_catalog.int8)::pg_catalog.text";
    site.rows(WATERMARK, &[queue.into(), number.as_str().into()])?;
    demote(site, queue, 3, &grave.node)?;
    // What its tables have lost is to be put right first.
    let values = [queue.into(), worker.as_str().into()];
    site.call("pgq_node.set_consumer_paused($1, $2, true)", &values)?;
    Ok(())
}

/// Take the place that was kept, and have all know that the node lives.
fn join(set: &mut Set, grave: &Grave) -> anyhow::Result<()> {
    let (queue, own, worker) =
        (set.queue.clone(), set.own.node_name.clone(), set.own.worker_name.clone());
    let location = set.member(&own)?.location.clone();
    let values = [queue.as_str().into(), own.as_str().into(), location.as_str().into()];
    let register_location = "pgq_node.register_location($1, $2, $3, false)";
    let names: Vec<_> = set.members.keys().cloned().collect();
    for name in names {
        if name == grave.node || !(name == own || set.is_alive(&name)) {
            continue;
        }
        let site = if name == own { Ok(&mut set.here) } else { set.site(&name) };
        if let Err(error) = site.and_then(|site| site.call(register_location, &values)) {
            log::warn!("node \"{name}\" is not told: {error:#}");
        }
    }
    let site = set.site(&grave.node)?;
    site.run("begin")?;
    let joined = site
        .call(register_location, &values)
        .and_then(|_| register(site, &queue, &own, &worker, grave.tick))
        .and_then(|()| site.run("commit"));
    if joined.is_err() {
        site.roll_back();
    }
    joined
}
