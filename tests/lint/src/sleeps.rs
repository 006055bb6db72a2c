//! Tests poll, they do not sleep until something has probably happened.
//!
//! A sleep of a random time is a chosen moment: a kill in the middle of whatever runs. Where time
//! itself is what a test needs, the pace of a load for example, `// Pace:` says what for on the
//! line before. Benchmarks and demos are about time and free.

use crate::Finding;
use crate::source::Source;

/// What `wait_until` itself is made of.
const POLL: &str = "tests/src/wait.rs";

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let Some(rust) = &source.rust else { return Vec::new() };
    let is_held = ["tests/suite/", "tests/src/"].iter().any(|room| source.path.starts_with(room));
    if !is_held || source.path == POLL {
        return Vec::new();
    }
    let has_reason = |index: usize| {
        let before = index.checked_sub(1).and_then(|before| source.text.lines().nth(before));
        before.is_some_and(|line| line.trim_start().starts_with("// Pace: "))
    };
    let sleeps = |line: &str| line.contains("sleep(") && !line.contains("random");
    let lines = rust.code.lines().enumerate();
    let what = "poll with wait_until; or the time is random, or `// Pace:` says what it is for";
    lines
        .filter(|(index, line)| sleeps(line) && !has_reason(*index))
        .map(|(index, _)| Finding::new(&source.path, index + 1, "sleep", what))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_in_the_suite_is_found_unless_its_time_is_random_or_has_a_reason() {
        let fixed = "thread::sleep(Duration::from_millis(5));\n";
        assert_eq!(check(&Source::new("tests/suite/a.rs", fixed)).len(), 1);
        assert_eq!(check(&Source::new("tests/bench/a.rs", fixed)), []);
        let random = "thread::sleep(Duration::from_millis(random.below(5)));\n";
        assert_eq!(check(&Source::new("tests/suite/a.rs", random)), []);
        let paced = format!("// Pace: of the load.\n{fixed}");
        assert_eq!(check(&Source::new("tests/suite/a.rs", &paced)), []);
        let text = "run(\"select pg_sleep(1)\"); // no sleep()\n";
        assert_eq!(check(&Source::new("tests/suite/a.rs", text)), []);
    }
}
