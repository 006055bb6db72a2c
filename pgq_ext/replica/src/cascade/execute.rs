//! Scripts that go through the queue: where they are run, and how.

use super::attributes::Attributes;
use super::tables::Table;
use super::{calls, meaning::Meaning};
use crate::error::Error;
use crate::name;
use crate::session::{Argument, Session};

/// A condition of a script: something must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    LocalTable,
    LocalSequence,
    LocalDestination,
    NeedTable,
    NeedSequence,
    NeedView,
    NeedSchema,
    NeedFunction,
}

impl Condition {
    fn parse(key: &str) -> Result<Self, Error> {
        Ok(match key.to_lowercase().as_str() {
            "local-table" => Self::LocalTable,
            "local-sequence" => Self::LocalSequence,
            "local-destination" => Self::LocalDestination,
            "need-table" => Self::NeedTable,
            "need-sequence" => Self::NeedSequence,
            "need-view" => Self::NeedView,
            "need-schema" => Self::NeedSchema,
            "need-function" => Self::NeedFunction,
            _ => return Err(Error::Payload(format!("unknown condition \"{key}\" of a script"))),
        })
    }
}

/// What came of the conditions of a script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Verdict {
    met: usize,
    unmet: usize,
}

impl Verdict {
    fn add(&mut self, met: bool) {
        if met {
            self.met += 1;
        } else {
            self.unmet += 1;
        }
    }

    /// Is the script to be run? All of its conditions are met, or none.
    fn is_to_run(self, script: &str) -> Result<bool, Error> {
        match (self.met, self.unmet) {
            (_, 0) => Ok(true),
            (0, _) => Ok(false),
            _ => Err(Error::Payload(format!(
                "script \"{script}\": some of its conditions are met and some are not"
            ))),
        }
    }
}

/// The conditions at the top of a script, in comments before its first statement:
/// `--*-- Local-Table: a, b`. A list that ends with a comma goes on in the next such comment.
///
/// # Errors
/// [`Error::Payload`] for a condition that is not known, or without a value.
pub fn header(sql: &str) -> Result<Attributes, Error> {
    let mut attributes = Attributes::default();
    let mut open: Option<String> = None;
    for line in sql.lines().map(str::trim) {
        let Some(text) = line.strip_prefix("--*--").map(str::trim) else {
            if line.is_empty() || line.starts_with("--") {
                continue;
            }
            break;
        };
        if text.is_empty() {
            continue;
        }
        let (key, values) = match (open.take(), text.split_once(':')) {
            (Some(key), _) => (key, text),
            (None, Some((key, values))) => {
                Condition::parse(key.trim())?;
                (key.trim().to_lowercase(), values)
            }
            (None, None) => {
                return Err(Error::Payload(format!("\"{text}\" is no condition of a script")));
            }
        };
        let list: Vec<_> = values.split(',').map(str::trim).filter(|v| !v.is_empty()).collect();
        if list.is_empty() {
            return Err(Error::Payload(format!("condition \"{key}\" of a script has no value")));
        }
        attributes.add(&key, &list.join(","));
        open = values.trim_end().ends_with(',').then_some(key);
    }
    Ok(attributes)
}

/// Run a script on the root, and send it through the queue, unless it was run before. In a
/// transaction. False when it was run before.
///
/// # Errors
/// [`Error::Call`] where the node is not the root; those of [`header`]; the session's.
pub fn begin<S: Session>(
    local: &mut S,
    queue: &str,
    script: &str,
    sql: &str,
) -> Result<bool, S::Error> {
    let attributes = header(sql)?;
    let text = attributes.encode();
    let arguments = [queue.into(), script.into(), sql.into(), or_null(&text)];
    let start = "londiste.execute_start($1, $2, $3, true, $4)";
    if calls::call(local, start, &arguments)? > 200 {
        return Ok(false);
    }
    let tables = Table::list(local, queue)?;
    if let Some(sql) = prepare(local, queue, &tables, script, sql, &attributes)? {
        run(local, &sql)?;
    }
    calls::call(local, "londiste.execute_finish($1, $2)", &[queue.into(), script.into()])?;
    Ok(true)
}

/// Row versions have the lower half of a transaction's id. It may be that of a subtransaction, and
/// a snapshot names only whole ones: so a script counts as before a tick when all are that began
/// with it or earlier.
const AHEAD: &str = "
select (exists (
    select from (
           select case when s.id operator(pg_catalog.<) s.next then s.id
                       else s.id operator(pg_catalog.-) 4294967296 end as id
             from londiste.applied_execute e,
                  pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) n (next),
                  lateral (
                    select n.next,
                           (n.next operator(pg_catalog.&) (operator(pg_catalog.~) 4294967295))
                           operator(pg_catalog.|) e.xmin::pg_catalog.text::bigint as id
                  ) s
            where e.queue_name operator(pg_catalog.=) $1
           ) script
     where not exists (
           select from pgq.tick t
                  join pgq.queue q on q.queue_id operator(pg_catalog.=) t.tick_queue
            where q.queue_name operator(pg_catalog.=) $1
              and t.tick_id operator(pg_catalog.=) $2::bigint
              and script.id operator(pg_catalog.<)
                      pg_catalog.txid_snapshot_xmin(t.tick_snapshot))))::pg_catalog.text";

/// Has the provider run scripts that come after this tick? A node that has applied what is before
/// it runs them later, and what they do to a table's rows and columns is not to be copied before.
///
/// # Errors
/// The session's.
pub fn are_ahead<S: Session>(provider: &mut S, queue: &str, tick: i64) -> Result<bool, S::Error> {
    let tick = tick.to_string();
    let rows = provider.rows(AHEAD, &[queue.into(), tick.as_str().into()])?;
    Ok(rows.first().map_or(Ok(false), |row| row.flag(0))?)
}

const EXISTS_SEQUENCE: &str = "
select (exists (select
                  from londiste.get_seq_list($1)
                 where seq_name operator(pg_catalog.=) $2
                   and local))::pg_catalog.text";
const EXISTS_TABLE: &str = "select (londiste.find_table_oid($1) is not null)::pg_catalog.text";
const EXISTS_RELATION: &str = "select (londiste.find_rel_oid($1, $2) is not null)::pg_catalog.text";
const EXISTS_SCHEMA: &str = "
select (exists (select
                  from pg_catalog.pg_namespace
                 where nspname operator(pg_catalog.=) $1))::pg_catalog.text";
const EXISTS_FUNCTION: &str = "
select (exists (select
                  from pg_catalog.pg_proc p
                       join pg_catalog.pg_namespace n
                         on n.oid operator(pg_catalog.=) p.pronamespace
                 where n.nspname operator(pg_catalog.=) $1
                   and p.proname operator(pg_catalog.=) $2
                   and p.pronargs operator(pg_catalog.=) $3::int))::pg_catalog.text";

/// Run a script that came with an event, unless it was run here before, or is not for this node.
/// True when it was run: tables may look different now.
///
/// # Errors
/// [`Error::Payload`] for conditions that are not known, or met by half; the session's.
pub(super) fn replay<S: Session>(
    local: &mut S,
    queue: &str,
    tables: &[Table],
    meaning: Meaning<'_>,
) -> Result<bool, S::Error> {
    let Meaning::Execute { name: script, sql, attributes } = meaning else { return Ok(false) };
    let arguments = [queue.into(), script.into(), sql.into(), or_null(attributes)];
    let start = "londiste.execute_start($1, $2, $3, false, $4)";
    if calls::call(local, start, &arguments)? > 200 {
        local.remark(&format_args!("script \"{script}\" was run before"));
        return Ok(false);
    }
    let sql = prepare(local, queue, tables, script, sql, &Attributes::parse(attributes)?)?;
    if let Some(sql) = &sql {
        run(local, sql)?;
        calls::begin(local)?;
    } else {
        local.remark(&format_args!("script \"{script}\" is not for this node"));
    }
    calls::call(local, "londiste.execute_finish($1, $2)", &[queue.into(), script.into()])?;
    Ok(sql.is_some())
}

/// The text as an argument; null when it is empty.
fn or_null(text: &str) -> Argument<'_> {
    Argument::Text((!text.is_empty()).then_some(text))
}

/// What a script may leave to the session. Statements that a pooler has prepared are not its own.
const LEAVE_NOTHING: &str = "
close all;
reset session authorization;
reset role;
reset all;
set client_encoding = 'UTF8';
discard temp;
do language plpgsql $$
declare
    prepared pg_catalog.text;
begin
    for prepared in
        select s.name
          from pg_catalog.pg_prepared_statements s
         where s.from_sql
           and s.prepare_time operator(pg_catalog.>=) pg_catalog.now()
    loop
        execute pg_catalog.format('deallocate %I', prepared);
    end loop;
end
$$";

/// Constraints that are deferred unless a transaction says otherwise. A name that another one of
/// its schema has as well says nothing.
const DEFERRED: &str = "
select pg_catalog.format('set constraints %I.%I deferred', n.nspname, c.conname)
  from pg_catalog.pg_constraint c
       join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.connamespace
 where not pg_catalog.pg_is_other_temp_schema(n.oid)
   and pg_catalog.has_schema_privilege(n.oid, 'usage')
 group by n.nspname, c.conname
having pg_catalog.bool_and(c.condeferred)";

/// Run a script: triggers fire, but those that write into queues do not write, since each node runs
/// it. It is a part of the transaction, and cannot end that: PL/pgSQL refuses to begin and to
/// commit. What it has deferred is done before what follows, as on the root, and in the same role.
/// What it sets is not for what follows.
fn run<S: Session>(local: &mut S, sql: &str) -> Result<(), S::Error> {
    calls::set_role(local, "local")?;
    let block = format!("begin execute {}; end", name::literal(sql));
    local.run(&format!("do language plpgsql {}", name::literal(&block)))?;
    local.run("reset session authorization; reset role; reset all")?;
    calls::set_role(local, "local")?;
    local.run("set constraints all immediate")?;
    local.run(LEAVE_NOTHING)?;
    let deferred = local.rows(DEFERRED, &[])?;
    let again: Vec<_> = deferred.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?;
    match again.is_empty() {
        true => Ok(()),
        false => local.run(&again.join(";\n")),
    }
}

/// The script with the names of this node; none when it is not for it.
fn prepare<S: Session>(
    local: &mut S,
    queue: &str,
    tables: &[Table],
    script: &str,
    sql: &str,
    attributes: &Attributes,
) -> Result<Option<String>, S::Error> {
    let mut verdict = Verdict::default();
    let mut sql = sql.to_owned();
    for (key, values) in attributes.iter() {
        let condition = Condition::parse(key)?;
        for value in values.split(',').map(str::trim).filter(|value| !value.is_empty()) {
            let full = name::full(value);
            let attached = tables.iter().find(|table| table.name == full);
            let target = attached.map_or(full.as_str(), Table::target).to_owned();
            let mut exists = |sql: &str, arguments: &[&str]| -> Result<bool, S::Error> {
                let arguments: Vec<_> = arguments.iter().map(|text| (*text).into()).collect();
                let rows = local.rows(sql, &arguments)?;
                Ok(rows.first().map_or(Ok(false), |row| row.flag(0))?)
            };
            let met = match condition {
                Condition::LocalTable => attached.is_some(),
                Condition::LocalDestination => {
                    attached.is_some() && exists(EXISTS_TABLE, &[&target])?
                }
                Condition::LocalSequence => exists(EXISTS_SEQUENCE, &[queue, &full])?,
                Condition::NeedTable => exists(EXISTS_TABLE, &[&full])?,
                Condition::NeedSequence => exists(EXISTS_RELATION, &[&full, "S"])?,
                Condition::NeedView => exists(EXISTS_RELATION, &[&full, "v"])?,
                Condition::NeedSchema => exists(EXISTS_SCHEMA, &[value])?,
                Condition::NeedFunction => {
                    let (function, arguments) = function(value)?;
                    let (schema, function) = name::split(function);
                    exists(EXISTS_FUNCTION, &[schema, function, arguments])?
                }
            };
            verdict.add(met);
            let is_local = matches!(
                condition,
                Condition::LocalTable | Condition::LocalSequence | Condition::LocalDestination
            );
            if met && is_local {
                sql = sql.replace(&format!("@{value}@"), &name::quoted(&target));
            }
        }
    }
    Ok(verdict.is_to_run(script)?.then_some(sql))
}

/// `name(3)` or `name`.
fn function(text: &str) -> Result<(&str, &str), Error> {
    let Some((name, arguments)) = text.split_once('(') else { return Ok((text, "0")) };
    let number = arguments.strip_suffix(')').map(str::trim);
    match number.filter(|number| number.parse::<u8>().is_ok()) {
        Some(number) => Ok((name.trim(), number)),
        None => Err(Error::Payload(format!(
            "\"{text}\" is no function with the number of its arguments, as f(2)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Condition, Verdict, function, header};

    #[test]
    fn a_script_runs_where_all_conditions_are_met_or_there_are_none() {
        let verdict = |met, unmet| Verdict { met, unmet }.is_to_run("s");
        assert_eq!(verdict(0, 0), Ok(true));
        assert_eq!(verdict(2, 0), Ok(true));
        assert_eq!(verdict(0, 2), Ok(false));
        assert!(verdict(1, 1).is_err());
    }

    #[test]
    fn conditions_are_read_at_the_top_only() {
        let sql = "-- about\n\n--*-- Local-Table: a, b,\n  --*--   c\n--*-- need-schema: x\n\
                   select 1;\n--*-- Need-Luck: 1\n";
        let attributes = header(sql).unwrap();
        assert_eq!(attributes.get("local-table"), Some("a,b,c"));
        assert_eq!(attributes.get("need-schema"), Some("x"));
        assert_eq!(header("select 1").unwrap().encode(), "");
        for wrong in ["--*-- Need-Luck: 1", "--*-- local-table", "--*-- Local-Table: ,"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn conditions_are_read() {
        assert_eq!(Condition::parse("Need-Schema"), Ok(Condition::NeedSchema));
        assert!(Condition::parse("need-luck").is_err());
        assert_eq!(function("app.f(2)"), Ok(("app.f", "2")));
        assert_eq!(function("f"), Ok(("f", "0")));
        assert!(function("f(x)").is_err());
        assert!(function("f(1").is_err());
    }
}
