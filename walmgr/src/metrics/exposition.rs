//! Prometheus' text format: names with help and type once, then their samples.

use std::fmt::{Display, Write};

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows, until it is reset.
    Counter,
}

/// A metric.
#[derive(Debug)]
pub(super) struct Metric {
    /// Its name.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) kind: Kind,
    /// One sentence.
    pub(super) help: &'static str,
}

/// Numbers, by metric in the order they came.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<(&'static Metric, Vec<String>)>);

impl Samples {
    /// Add a number.
    pub(super) fn set(
        &mut self,
        metric: &'static Metric,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        let line = format!("{}{} {value}", metric.name, label_set(labels));
        self.of(metric).push(line);
    }

    /// Add all numbers of another.
    pub(super) fn extend(&mut self, other: Self) {
        for (metric, lines) in other.0 {
            self.of(metric).extend(lines);
        }
    }

    fn of(&mut self, metric: &'static Metric) -> &mut Vec<String> {
        let at = self.0.iter().position(|(other, _)| other.name == metric.name);
        let at = at.unwrap_or_else(|| {
            self.0.push((metric, Vec::new()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    /// The text, with a line feed at its end.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for (metric, lines) in &self.0 {
            let kind = match metric.kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
            };
            let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
            // Writing to a string does not fail.
            let _ = writeln!(out, "# HELP {} {help}", metric.name);
            let _ = writeln!(out, "# TYPE {} {kind}", metric.name);
            for line in lines {
                let _ = writeln!(out, "{line}");
            }
        }
        out
    }
}

fn label_set(labels: &[(&str, &str)]) -> String {
    let label = |(name, value): &(&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    let labels: Vec<String> = labels.iter().map(label).collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Metric, Samples};

    static A: Metric = Metric { name: "a_total", kind: Kind::Counter, help: "One \\ two." };
    static B: Metric = Metric { name: "b", kind: Kind::Gauge, help: "B." };

    #[test]
    fn names_have_help_and_type_once_and_labels_are_escaped() {
        let mut samples = Samples::default();
        samples.set(&A, &[("x", "a\\b\"c\nd"), ("y", "")], 3);
        samples.set(&B, &[], 1_700_000_000.25);
        let mut more = Samples::default();
        more.set(&A, &[("x", "z")], 4);
        samples.extend(more);
        assert_eq!(
            samples.text(),
            "# HELP a_total One \\\\ two.\n# TYPE a_total counter\n\
             a_total{x=\"a\\\\b\\\"c\\nd\",y=\"\"} 3\na_total{x=\"z\"} 4\n\
             # HELP b B.\n# TYPE b gauge\nb 1700000000.25\n"
        );
    }
}
