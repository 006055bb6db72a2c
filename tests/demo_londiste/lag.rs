//! How long a commit on one node takes until it is seen on another one.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use pgq_tests::PATIENCE;

use crate::node::Node;

/// Commit rows one after the other; the median and the slowest, in milliseconds.
pub(crate) fn measure(from: &Node<'_>, to: &Node<'_>, rows: RangeInclusive<i32>) -> (f64, f64) {
    let (mut writer, mut reader) = (from.connect(), to.connect());
    let insert = writer.prepare("insert into beat values ($1)").unwrap();
    let look = reader.prepare("select 1 from beat where n = $1").unwrap();
    let mut lags: Vec<f64> = rows
        .map(|n| {
            writer.execute(&insert, &[&n]).unwrap();
            let committed = Instant::now();
            while reader.query(&look, &[&n]).unwrap().is_empty() {
                assert!(committed.elapsed() < PATIENCE, "row {n} is not at {}", to.name());
                std::thread::sleep(Duration::from_micros(200));
            }
            committed.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    lags.sort_by(f64::total_cmp);
    (lags[lags.len() / 2], lags[lags.len() - 1])
}
