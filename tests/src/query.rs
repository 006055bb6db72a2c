//! Queries as text, for tests that compare whole answers.

use std::process::{Child, Stdio};

use postgres::{Client, SimpleQueryMessage};

use crate::Cluster;

/// The rows of the last statement that returns any: columns joined by `|`, null as `∅`.
pub fn rows(client: &mut Client, sql: &str) -> Vec<String> {
    try_rows(client, sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

/// As [`rows`], or the server's error.
pub fn try_rows(client: &mut Client, sql: &str) -> Result<Vec<String>, postgres::Error> {
    let mut found = Vec::new();
    for message in client.simple_query(sql)? {
        match message {
            SimpleQueryMessage::RowDescription(_) => found.clear(),
            SimpleQueryMessage::Row(row) => {
                let columns: Vec<_> = (0..row.len()).map(|i| row.get(i).unwrap_or("∅")).collect();
                found.push(columns.join("|"));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The only row, or `nothing` when there is none.
pub fn row(client: &mut Client, sql: &str) -> String {
    let mut found = rows(client, sql);
    assert!(found.len() <= 1, "{sql}: {found:?}");
    found.pop().unwrap_or_else(|| "nothing".to_owned())
}

/// What a statement leads to: its rows, one a line, or `ERROR SQLSTATE: message`.
///
/// Not for a session that the server ends, which is [`Doomed`]: where this process is slow, the
/// client of crate `postgres` finds the message and the end of the connection at once, and says
/// only that it is closed.
pub fn outcome(client: &mut Client, sql: &str) -> String {
    match try_rows(client, sql) {
        Ok(found) => found.join("\n"),
        Err(error) => match error.as_db_error() {
            Some(error) => format!("ERROR {}: {}", error.code().code(), error.message()),
            None => panic!("{sql}: {error}"),
        },
    }
}

/// Run statements whose answers do not matter.
pub fn run(client: &mut Client, sql: &str) {
    client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Make a session that waits for another one give up in the end, so that a failed test does not
/// hang.
pub fn patient(mut client: Client) -> Client {
    run(&mut client, "set statement_timeout = '90 s'");
    client
}

/// A statement in a session of psql's, which the server is to end: psql tells the last message
/// whenever it looks.
#[derive(Debug)]
pub struct Doomed(Child);

impl Doomed {
    /// Begin the statement.
    pub fn begin(cluster: &Cluster, database: &str, sql: &str) -> Self {
        let mut psql = cluster.command("psql");
        psql.args(["-X", "-q", "-v", "VERBOSITY=verbose", "-d", database, "-c", sql]);
        psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self(psql.spawn().expect("start psql"))
    }

    /// Wait for its end and its error: `SEVERITY:  SQLSTATE: message`.
    pub fn last_words(self) -> String {
        let output = self.0.wait_with_output().expect("wait for psql");
        let said = String::from_utf8_lossy(&output.stderr);
        let is_error = |line: &&str| line.starts_with("ERROR:") || line.starts_with("FATAL:");
        said.lines().find(is_error).unwrap_or(&said).to_owned()
    }
}
