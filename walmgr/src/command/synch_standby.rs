//! `synch-standby NAMES`: choose the standbys that commits wait for.

use std::time::Duration;

use postgres::Client;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::pg::{sql, standby};

/// Arguments of `synch-standby`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As in synchronous_standby_names: `a,b`, `FIRST 1 (a, b)`, `ANY 1 (a, b)`, `*`; empty for
    /// none.
    names: String,
    /// Also when too few of them are connected: commits will wait until they are.
    #[arg(long)]
    force: bool,
}

/// Set `synchronous_standby_names`.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let wanted = parse(&args.names)?;
    let mut client = sql::connect(context.transport, context.config.connect()?)?;
    let connected = connected(&mut client)?;
    let is_there = |name: &String| {
        name == "*" || connected.iter().any(|other| other.eq_ignore_ascii_case(name))
    };
    for name in wanted.names.iter().filter(|name| !is_there(name)) {
        log::warning(format_args!("standby \"{name}\" is not connected"));
    }
    let there = if wanted.names.iter().any(|name| name == "*") {
        connected.len()
    } else {
        wanted.names.iter().filter(|name| is_there(name)).count()
    };
    if there < wanted.needed && !args.force {
        return Err(Error::Failed(format!(
            "commits would wait for {} standbys and {there} are connected: nothing was changed (--force)",
            wanted.needed
        )));
    }
    sql::alter_system(context, &mut client, "synchronous_standby_names", Some(args.names.trim()))?;
    if context.dry_run {
        return Ok(());
    }
    sql::reload(&mut client)?;
    let expected = i64::try_from(wanted.needed.min(there)).expect("a server has few standbys");
    let confirmed = standby::poll(Duration::from_secs(10), || {
        let row = client.query_one(
            "select count(*) from pg_catalog.pg_stat_replication r where r.sync_state in ('sync', 'quorum')",
            &[],
        )?;
        let count: i64 = row.get(0);
        Ok(if expected == 0 { count == 0 || args.force } else { count >= expected })
    })?;
    if confirmed {
        return Ok(());
    }
    Err(Error::Failed("the standbys did not become synchronous".to_owned()))
}

fn connected(client: &mut Client) -> Result<Vec<String>> {
    let rows = client.query(
        "select r.application_name from pg_catalog.pg_stat_replication r where r.state = 'streaming'",
        &[],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    needed: usize,
    names: Vec<String>,
}

/// Read the value as the server does: a count with `FIRST`, `ANY` or neither, and a list; or just a
/// list.
fn parse(text: &str) -> Result<Wanted> {
    let bad = || Error::Usage(format!("\"{text}\" is no value for synchronous_standby_names"));
    let text = text.trim();
    if text.is_empty() {
        return Ok(Wanted { needed: 0, names: Vec::new() });
    }
    let (count, list) = match text.split_once('(') {
        Some((head, rest)) => {
            let list = rest.strip_suffix(')').ok_or_else(bad)?;
            let mut words: Vec<_> = head.split_whitespace().collect();
            let count = words.pop().and_then(|word| word.parse().ok()).filter(|count| *count > 0);
            let keyword = words.pop().map(str::to_ascii_uppercase);
            let known = keyword.is_none_or(|keyword| matches!(keyword.as_str(), "FIRST" | "ANY"));
            if !known || !words.is_empty() {
                return Err(bad());
            }
            (count.ok_or_else(bad)?, list)
        }
        None => (1, text),
    };
    let names: Vec<String> =
        list.split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect();
    if names.iter().any(|name| name.is_empty() || name.contains(['(', ')', ' '])) {
        return Err(bad());
    }
    Ok(Wanted { needed: count, names })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn values_are_read_as_the_server_does() {
        for (text, needed, names) in [
            ("", 0, vec![]),
            ("a", 1, vec!["a"]),
            ("a, \"B\"", 1, vec!["a", "B"]),
            ("2 (a, b)", 2, vec!["a", "b"]),
            ("FIRST 1 (a,b)", 1, vec!["a", "b"]),
            ("any 2 (*)", 2, vec!["*"]),
        ] {
            let wanted = parse(text).unwrap();
            assert_eq!(
                (wanted.needed, wanted.names.as_slice()),
                (needed, names.map_owned().as_slice())
            );
        }
        for text in ["ANY (a)", "SOME 1 (a)", "2 (a", "a b", ",", "0 (a)"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    trait MapOwned {
        fn map_owned(self) -> Vec<String>;
    }
    impl MapOwned for Vec<&str> {
        fn map_owned(self) -> Vec<String> {
            self.into_iter().map(str::to_owned).collect()
        }
    }
}
