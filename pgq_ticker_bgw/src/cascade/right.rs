//! The right to work for a node: a lock of the session, by which workers know of each other.

use std::time::{Duration, Instant};

use pgq_pg::{lock, report};
use pgq_replica::Session;
use pgq_replica::cascade::claim::{self, Claim};

use super::here::Here;
use super::problem::Problem;

/// Between attempts to get the lock of one that works without it.
const AGAIN: Duration = Duration::from_secs(5);

/// The right to work for the node of a queue.
pub(super) struct Right {
    queue: String,
    /// The key of the lock, once it was asked for.
    key: Option<i64>,
    works: bool,
    /// It works without the lock: when it was refused that last.
    unlocked: Option<Instant>,
    refused: u32,
}

impl Right {
    pub(super) fn new(queue: &str) -> Self {
        let queue = queue.to_owned();
        Self { queue, key: None, works: false, unlocked: None, refused: 0 }
    }

    /// Have it, or take it; false when another worker has it. What somebody's code in this session
    /// has given up (`pg_advisory_unlock_all()`) is taken again.
    pub(super) fn hold(&mut self, here: &mut Here) -> Result<bool, Problem> {
        let key = self.key(here)?;
        if self.works && self.is_held(key) {
            return Ok(true);
        }
        let queue = &self.queue;
        let was_unlocked = self.unlocked.take().is_some();
        let worked = std::mem::replace(&mut self.works, false);
        match claim::take(here, queue)? {
            Claim::Mine if was_unlocked => {
                report::log(&format!("londiste worker of \"{queue}\" has the lock now"));
            }
            Claim::Mine if worked => report::warning(&format!(
                "londiste worker of \"{queue}\" had lost its lock: did a trigger or script call \
                 pg_advisory_unlock_all()?"
            )),
            Claim::Mine => {}
            Claim::Unlocked => {
                if !was_unlocked {
                    report::warning(&format!(
                        "londiste worker of \"{queue}\" works without a lock that somebody else \
                         holds"
                    ));
                }
                self.unlocked = Some(Instant::now());
            }
            Claim::Of { pid, name } => {
                self.refused += 1;
                // One that was killed holds it for a moment.
                if self.refused == 2 {
                    report::log(&format!(
                        "londiste worker of \"{queue}\" waits for another worker: \"{name}\", \
                         server process {pid}"
                    ));
                }
                return Ok(false);
            }
        }
        if self.refused > 1 {
            report::log(&format!(
                "londiste worker of \"{queue}\" works, since the other worker has ended"
            ));
        }
        (self.works, self.refused) = (true, 0);
        Ok(true)
    }

    fn is_held(&self, key: i64) -> bool {
        match self.unlocked {
            Some(then) => then.elapsed() < AGAIN,
            None => lock::holds_session_lock(key),
        }
    }

    fn key(&mut self, here: &mut Here) -> Result<i64, Problem> {
        if let Some(key) = self.key {
            return Ok(key);
        }
        let rows = here.rows(claim::KEY, &[self.queue.as_str().into()])?;
        let nothing = || pgq_replica::Error::Answer("no key of a lock".to_owned());
        let key = rows.first().ok_or_else(nothing)?.number(0)?;
        self.key = Some(key);
        Ok(key)
    }
}

/// Whoever copies a table holds this lock of its session.
const TAKE_COPY: &str = "
select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 7372))::pg_catalog.text";

/// Who holds it. Whoever may merely connect could take it, but be no process of this kind.
const COPIES: &str = "
select a.pid::pg_catalog.text
  from pg_catalog.pg_locks l
       join pg_catalog.pg_stat_activity a on a.pid operator(pg_catalog.=) l.pid,
       pg_catalog.hashtextextended($1, 7372) k (id)
 where l.locktype operator(pg_catalog.=) 'advisory'
   and l.database operator(pg_catalog.=) a.datid
   and a.datname operator(pg_catalog.=) pg_catalog.current_database()
   and l.classid::bigint operator(pg_catalog.=)
           ((k.id operator(pg_catalog.>>) 32) operator(pg_catalog.&) 4294967295)
   and l.objid::bigint operator(pg_catalog.=) (k.id operator(pg_catalog.&) 4294967295)
   and l.objsubid operator(pg_catalog.=) 1
   and l.granted
   and a.backend_type operator(pg_catalog.=) 'londiste copy'";

/// Be the one process that copies a table, as this consumer; false when there is one. What others
/// hold the lock for is theirs: two processes by mistake cost time, and locks of rows keep them
/// apart.
pub(super) fn take_copy(here: &mut Here, consumer: &str) -> Result<bool, Problem> {
    let rows = here.rows(TAKE_COPY, &[consumer.into()])?;
    let nothing = || pgq_replica::Error::Answer("nothing of a lock".to_owned());
    Ok(rows.first().ok_or_else(nothing)?.flag(0)? || !is_copied(here, consumer)?)
}

/// Is there a process that copies a table, as this consumer?
pub(super) fn is_copied(here: &mut Here, consumer: &str) -> Result<bool, Problem> {
    Ok(!here.rows(COPIES, &[consumer.into()])?.is_empty())
}
