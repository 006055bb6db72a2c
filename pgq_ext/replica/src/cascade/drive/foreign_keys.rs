//! Foreign keys: a table that is emptied for a copy has none meanwhile, in either direction.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ErrorOf, Host, Local, within};
use crate::cascade::tables::SHORT_WAIT;
use crate::error::Error;
use crate::session::{Row, Session};

/// Between attempts to restore one that could not be: the first, and the longest.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(300);

/// Drop those of a table, to be restored when both of their sides are in sync. In a transaction,
/// which waits for nobody for long from here on: others queue behind it.
pub(super) fn drop<S: Session>(local: &mut S, table: &str) -> Result<(), S::Error> {
    local.run(SHORT_WAIT)?;
    local.rows(
        "select londiste.drop_table_fkey(k.from_table, k.fkey_name)::pg_catalog.text
           from londiste.find_table_fkeys($1) k",
        &[table.into()],
    )?;
    Ok(())
}

/// Those that could not be restored, and when to try again.
#[derive(Debug, Default)]
pub(super) struct ForeignKeys {
    failed: BTreeMap<(String, String), Failed>,
}

#[derive(Debug)]
struct Failed {
    again: Duration,
    pause: Duration,
    said: String,
}

impl ForeignKeys {
    /// Restore those whose tables are in sync. Each step of it is a transaction; what fails is said
    /// once, and tried again later and later.
    pub(super) fn restore<H: Host>(
        &mut self,
        host: &mut H,
        local: &mut H::Local,
        queue: &str,
    ) -> Result<(), ErrorOf<H>> {
        const PENDING: &str =
            "select from_table, fkey_name from londiste.get_valid_pending_fkeys($1)";
        let rows = local.rows(PENDING, &[queue.into()])?;
        let names = |row: &Row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()));
        let keys: Vec<_> = rows.iter().map(names).collect::<Result<_, Error>>()?;
        self.failed.retain(|key, _| keys.contains(key));
        for key in keys {
            if self.failed.get(&key).is_some_and(|failed| host.now() < failed.again) {
                continue;
            }
            let (table, name) = &key;
            match restore_one(local, table, name) {
                Ok(()) => {
                    host.say(&format_args!(
                        "foreign key \"{name}\" of table \"{table}\" is restored"
                    ));
                    self.failed.remove(&key);
                }
                Err(error) => {
                    let said = format!(
                        "foreign key \"{name}\" of table \"{table}\" cannot be restored: {error}"
                    );
                    let before = self.failed.get(&key);
                    if before.is_none_or(|before| before.said != said) {
                        host.warn(&said);
                    }
                    let pause = before.map_or(FIRST, |before| (before.pause * 2).min(LONGEST));
                    self.failed.insert(key, Failed { again: host.now() + pause, pause, said });
                }
            }
        }
        Ok(())
    }
}

fn restore_one<L: Local>(local: &mut L, table: &str, key: &str) -> Result<(), L::Error> {
    // First it is added without a look at the rows there, then they are looked at.
    loop {
        let done = within(local, |local| {
            local.run(SHORT_WAIT)?;
            let sql = "select londiste.restore_table_fkey($1, $2, true)";
            let rows = local.rows(sql, &[table.into(), key.into()])?;
            let sql = rows.first().map(|row| row.get(0)).transpose()?.flatten();
            let Some(sql) = sql.filter(|sql| !sql.is_empty()) else { return Ok(Some(true)) };
            if !is_of_key(sql) {
                return Err(Error::Refused(format!(
                    "\"{sql}\" in londiste.pending_fkeys is more than a foreign key"
                ))
                .into());
            }
            local.execute(sql, &[])?;
            Ok(Some(false))
        })?;
        if done == Some(true) {
            return Ok(());
        }
    }
}

/// Does this statement add or validate one constraint, and nothing else? Whoever may write the list
/// chooses the statement, and it runs with our rights. What is in quotes is a name. Around it are
/// words, and commas within parentheses alone: `alter table` could do something else after one.
fn is_of_key(sql: &str) -> bool {
    let Some(words) = outside_of_names(sql) else { return false };
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    let words = match words.as_slice() {
        ["alter", "table", "only", _, rest @ ..] | ["alter", "table", _, rest @ ..] => rest,
        _ => return false,
    };
    matches!(words, ["add", "constraint", _, "foreign", "key", ..] | ["validate", "constraint", _])
}

/// The statement in lower case with `x` for each name in quotes; none when it has something else
/// than words, parentheses, and commas in these.
fn outside_of_names(sql: &str) -> Option<String> {
    let mut out = String::with_capacity(sql.len());
    let mut depth = 0_u32;
    let mut characters = sql.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                // Two of them within a name are one of its characters.
                while characters.next()? != '"' || characters.next_if_eq(&'"').is_some() {}
                out.push('x');
            }
            '(' => {
                depth += 1;
                out.push_str(" ( ");
            }
            ')' => {
                depth = depth.checked_sub(1)?;
                out.push_str(" ) ");
            }
            ',' if depth > 0 => out.push(','),
            '.' | '_' | '$' | ' ' | '\n' | '\t' => out.push(character),
            other if other.is_alphanumeric() => out.extend(other.to_lowercase()),
            _ => return None,
        }
    }
    (depth == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::is_of_key;

    #[test]
    fn only_a_foreign_key_is_made() {
        for sql in [
            "alter table only public.own add constraint own_t_fkey FOREIGN KEY (t, u) REFERENCES \
             public.t(id, v) ON DELETE SET NULL (t) DEFERRABLE not valid",
            "alter table only \"Odd\".\"Na me\" add constraint \"a;\"\"b\" foreign key (\"x,y\") \
             references s.t(id)",
            "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES t",
            "alter table only public.t validate constraint k",
        ] {
            assert!(is_of_key(sql), "{sql}");
        }
        for sql in [
            "drop table t",
            "alter table t owner to me",
            "alter table t add constraint k check (true)",
            "alter table t add constraint k foreign key (a) references t; drop role x",
            "alter table t add constraint k foreign key (a) references t, owner to me",
            "alter table t add constraint k foreign key (a) references t -- \n",
            "alter table t validate constraint k, disable trigger all",
            "alter table t add constraint k foreign key (a) references t where f('x')",
            "alter table \"t add constraint k foreign key",
            "alter table t add constraint k foreign key (a)) references (t",
            "",
        ] {
            assert!(!is_of_key(sql), "{sql}");
        }
    }
}
