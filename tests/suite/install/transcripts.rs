//! Pages that show what commands print: typed as they stand, the commands print it.
//!
//! A line of a block without a language is typed where its prompt says: `$ ` in one shell,
//! `NAME=# ` and its continuation `NAME-# ` in a psql session of that name, on the database of that
//! name, or else on `shop`. A block of SQL that begins with `-- FILE.sql` is that file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pgq_tests::programs::programs;
use pgq_tests::{Cluster, Tree};

const TUTORIAL: &str = include_str!("../../../docs/tutorial.md");
const CONCEPTS: &str = include_str!("../../../docs/concepts.md");
const PLPROXY: &str = include_str!("../../../docs/plproxy.md");

/// What is typed, where, and what the page says it prints.
struct Step {
    session: String,
    typed: String,
    says: String,
}

/// The steps of a page, in its order.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut is_code, mut is_transcript) = (false, false);
    for line in page.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
            is_transcript = is_code && line == "```";
        } else if is_transcript {
            if let Some((session, typed)) = prompt(line, "=# ") {
                steps.push(Step { session, typed: typed.to_owned(), says: String::new() });
            } else if let Some((_, typed)) = prompt(line, "-# ") {
                let step = steps.last_mut().expect("a continuation continues something");
                step.typed.push('\n');
                step.typed.push_str(typed);
            } else if let Some(typed) = line.strip_prefix("$ ") {
                let session = "$".to_owned();
                steps.push(Step { session, typed: typed.to_owned(), says: String::new() });
            } else if let Some(step) = steps.last_mut().filter(|_| is_transcript) {
                step.says.push_str(line);
                step.says.push('\n');
            }
        }
    }
    steps
}

/// The session of a prompt, and what is typed there.
fn prompt<'a>(line: &'a str, end: &str) -> Option<(String, &'a str)> {
    let (session, typed) = line.split_once(end)?;
    let is_name = !session.is_empty()
        && session.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    is_name.then(|| (session.to_owned(), typed))
}

/// A psql or a shell that is typed into.
struct Session {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    is_shell: bool,
}

/// What no page prints: it ends the output of a step.
const MARK: &str = "-- step done --";

impl Session {
    fn open(cluster: &Cluster, name: &str) -> Self {
        let is_shell = name == "$";
        let program = if is_shell {
            "sh".to_owned()
        } else {
            format!("psql -X -d {}", if exists(cluster, name) { name } else { "shop" })
        };
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = Tree::Ours.bin();
        let mut process = Command::new("sh")
            .args(["-c", &format!("exec 2>&1; exec {program}")])
            .env("PATH", format!("{}:{}:{path}", programs().display(), bin.display()))
            .env("PGHOST", cluster.dir())
            .env("PGPORT", cluster.port().to_string())
            .env("PGUSER", "postgres")
            .env("HOME", "/nonexistent")
            // The worker may come a moment later than the reader.
            .env("PGOPTIONS", "-c client_min_messages=warning")
            .env_remove("PGQ_DSN")
            .env_remove("PGDATABASE")
            .current_dir(cluster.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output, is_shell }
    }

    /// What a command prints.
    fn run(&mut self, typed: &str) -> String {
        let script = if self.is_shell {
            format!("{{ {typed}\n}} </dev/null; echo '{MARK}'\n")
        } else {
            format!("{typed}\n\\echo '{MARK}'\n")
        };
        self.input.write_all(script.as_bytes()).unwrap();
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            let is_over = self.output.read_line(&mut line).unwrap() == 0;
            if is_over || line.trim_end() == MARK {
                return printed;
            }
            printed.push_str(&line);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn exists(cluster: &Cluster, database: &str) -> bool {
    let sql = "select 1 from pg_database where datname = $1";
    !cluster.connect("postgres").query(sql, &[&database]).unwrap().is_empty()
}

/// Write the files that a page shows.
fn write_files(cluster: &Cluster, page: &str) {
    for block in page.split("```sql\n-- ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        if name.ends_with(".sql") {
            fs::write(cluster.dir().join(name), rest.split("```").next().unwrap()).unwrap();
        }
    }
}

/// Type a page, and compare.
fn type_in(cluster: &Cluster, page: &str) {
    write_files(cluster, page);
    let steps = steps(page);
    assert!(steps.len() > 5, "the page has {} steps", steps.len());
    let mut sessions: BTreeMap<&str, Session> = BTreeMap::new();
    for Step { session, typed, says } in &steps {
        let printed =
            sessions.entry(session).or_insert_with(|| Session::open(cluster, session)).run(typed);
        assert_eq!(words(&printed), words(says), "{session} {typed}\nprinted:\n{printed}");
    }
}

/// Lines as lists of words: the width of columns is of no matter, nor is the time of day.
fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| {
            line.split_whitespace()
                .map(|word| {
                    let is_time = word.contains(':') && word.starts_with(|c: char| c.is_numeric());
                    if is_time { "TIME" } else { word }
                })
                .map(|word| if word.starts_with("---") { "---" } else { word })
                .collect::<Vec<_>>()
        })
        .filter(|line| !line.is_empty())
        .collect()
}

fn server() -> Cluster {
    Cluster::builder().set("shared_preload_libraries", "pgq").start()
}

#[test]
fn the_tutorial_prints_what_it_says() {
    type_in(&server(), TUTORIAL);
}

#[test]
fn concepts_are_as_they_are_shown() {
    type_in(&server(), CONCEPTS);
}

#[test]
fn queues_work_behind_plproxy() {
    let mut cluster = Cluster::builder().set("shared_preload_libraries", "pgq").create();
    // PL/Proxy connects from inside of the server.
    cluster.set_env("PGHOST", cluster.dir().display().to_string());
    cluster.set_env("PGPORT", cluster.port());
    cluster.start();
    type_in(&cluster, PLPROXY);
}
