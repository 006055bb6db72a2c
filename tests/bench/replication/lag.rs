//! From a commit on the root to the row on the leaf.

use std::thread;
use std::time::{Duration, Instant};

use crate::Scope;
use crate::pair::{Contender, Pair, Rows, finish};
use crate::sheet::{Sheet, Target};

/// Commits a second.
const RATE: u32 = 20;
/// Transactions a second that come beside.
const BESIDE: &str = "200";

pub(crate) fn run(scope: &Scope) {
    let seconds = scope.count(10);
    let mut sheet = Sheet::new(format!(
        "Milliseconds from a commit on the root until the leaf shows it; {RATE} commits a second, \
         for {seconds} s"
    ));
    for _ in 0..scope.rounds {
        for contender in scope.contenders.iter().copied() {
            let mut pair = Pair::start(contender, 1, Rows::OnBoth);
            pair.attach();
            pair.await_sync();
            pair.mark(0);
            pair.await_mark(0);
            let commits = RATE * seconds;
            note(&mut sheet, contender, "alone", &mut measure(&pair, 1..commits));
            let end = (seconds + 1).to_string();
            let load = pair.pgbench(&["-c", "2", "-R", BESIDE, "-T", &end]).spawn().unwrap();
            let mut lags = measure(&pair, commits..2 * commits);
            finish(load);
            note(&mut sheet, contender, "beside 200 tx/s", &mut lags);
        }
    }
    sheet.print(scope);
}

fn note(sheet: &mut Sheet, contender: Contender, when: &str, lags: &mut [f64]) {
    lags.sort_by(f64::total_cmp);
    let at = |share: f64| lags[((lags.len() - 1) as f64 * share) as usize];
    sheet.note(&format!("{when}, p50"), Target::AtMost(6.0), contender, at(0.5));
    sheet.note(&format!("{when}, p95"), Target::AtMost(12.0), contender, at(0.95));
}

/// Commit rows at their times, whatever the leaf has; their lags.
fn measure(pair: &Pair, rows: std::ops::Range<u32>) -> Vec<f64> {
    let (mut writer, mut reader) = (pair.at_root(), pair.at_leaf());
    let first = rows.start;
    let last = i32::try_from(rows.end - 1).unwrap();
    let (mut seen, mut newest) = (Vec::new(), i32::try_from(first).unwrap() - 1);
    let looker = thread::spawn(move || {
        let look = reader.prepare("select n from marker where n > $1 order by n").unwrap();
        while newest < last {
            let found = reader.query(&look, &[&newest]).unwrap();
            let now = Instant::now();
            for row in found {
                newest = row.get(0);
                seen.push(now);
            }
            thread::sleep(Duration::from_micros(300));
        }
        seen
    });
    let insert = writer.prepare("insert into marker values ($1)").unwrap();
    let start = Instant::now();
    let committed: Vec<Instant> = rows
        .map(|n| {
            let due = start + Duration::from_secs(1) / RATE * (n - first);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            writer.execute(&insert, &[&i32::try_from(n).unwrap()]).unwrap();
            Instant::now()
        })
        .collect();
    let seen = looker.join().unwrap();
    let lags = committed.iter().zip(seen);
    lags.map(|(commit, seen)| seen.saturating_duration_since(*commit).as_secs_f64() * 1e3).collect()
}
