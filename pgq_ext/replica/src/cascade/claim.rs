//! One worker for a node at a time: the others wait until it ends.
//!
//! It is about work done twice, and not about data: those are safe by the locks of rows. So what
//! holds the lock and does not work is not waited for.

use crate::error::Error;
use crate::session::Session;

/// Whoever works for the node holds this lock of its session.
const TAKE: &str = "
select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 7371))::pg_catalog.text";

/// The key of that lock.
pub const KEY: &str = "select pg_catalog.hashtextextended($1, 7371)::pg_catalog.text";

/// Who holds it. Whoever may merely connect could take it, and behind a pooler it may be left to
/// nobody: then its session has no right to work here, or has done nothing for long.
const HOLDER: &str = "
select a.pid::pg_catalog.text, a.application_name
  from pg_catalog.pg_locks l
       join pg_catalog.pg_stat_activity a on a.pid operator(pg_catalog.=) l.pid,
       pg_catalog.hashtextextended($1, 7371) k (id)
 where l.locktype operator(pg_catalog.=) 'advisory'
   and l.database operator(pg_catalog.=) (
           select d.oid
             from pg_catalog.pg_database d
            where d.datname operator(pg_catalog.=) pg_catalog.current_database())
   and l.classid::bigint operator(pg_catalog.=)
           ((k.id operator(pg_catalog.>>) 32) operator(pg_catalog.&) 4294967295)
   and l.objid::bigint operator(pg_catalog.=) (k.id operator(pg_catalog.&) 4294967295)
   and l.objsubid operator(pg_catalog.=) 1
   and l.granted
   and l.mode operator(pg_catalog.=) 'ExclusiveLock'
   and pg_catalog.pg_has_role(
           a.usesysid,
           coalesce((select r.oid
                       from pg_catalog.pg_roles r
                      where r.rolname operator(pg_catalog.=) 'pgq_admin'),
                    (select n.nspowner
                       from pg_catalog.pg_namespace n
                      where n.nspname operator(pg_catalog.=) 'pgq')),
           'member')
   and coalesce(a.state operator(pg_catalog.<>) 'idle'
                or a.state_change operator(pg_catalog.>)
                       (pg_catalog.now() operator(pg_catalog.-) interval '1 minute'), true)";

/// Who may work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This session.
    Mine,
    /// This session, though somebody holds the lock who does not work: to be asked again now and
    /// then.
    Unlocked,
    /// Another worker.
    Of {
        /// Its server process.
        pid: i64,
        /// Its application's name.
        name: String,
    },
}

/// Take the right to work for a queue's node, for as long as the session lasts. Not to be asked by
/// the session that has it: it would have it twice.
///
/// # Errors
/// The session's.
pub fn take<S: Session>(local: &mut S, queue: &str) -> Result<Claim, S::Error> {
    // Between two questions the holder may end.
    for _ in 0..2 {
        let rows = local.rows(TAKE, &[queue.into()])?;
        let row = rows.first().ok_or_else(|| Error::Answer("nothing of a lock".to_owned()))?;
        if row.flag(0)? {
            return Ok(Claim::Mine);
        }
        let rows = local.rows(HOLDER, &[queue.into()])?;
        if let Some(row) = rows.first() {
            let name = row.get(1)?.unwrap_or_default().to_owned();
            return Ok(Claim::Of { pid: row.number(0)?, name });
        }
    }
    Ok(Claim::Unlocked)
}
