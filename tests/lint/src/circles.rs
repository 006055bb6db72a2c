//! No files that import each other, directly or through others.

use std::collections::BTreeSet;

use crate::Finding;
use crate::imports::{self, Graph};
use crate::source::Source;

pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let graph = imports::graph(sources);
    let mut findings = Vec::new();
    for (file, imported) in &graph {
        let below = reachable(&graph, file);
        if !below.contains(file.as_str()) {
            continue;
        }
        let is_in_circle = |to: &str| to == file || reachable(&graph, to).contains(file.as_str());
        let mut back = imported.iter().filter(|(to, _)| *to != file && is_in_circle(to));
        if let Some((_, &line)) = back.next() {
            let circle: Vec<&str> =
                below.iter().copied().filter(|to| *to != file && is_in_circle(to)).collect();
            let what = format!("imports each other with {}", circle.join(", "));
            findings.push(Finding::new(file, line, "circle", what));
        }
    }
    findings
}

fn reachable<'a>(graph: &'a Graph, from: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = vec![from];
    while let Some(file) = next.pop() {
        for to in graph.get(file).into_iter().flat_map(|to| to.keys()) {
            if seen.insert(to.as_str()) {
                next.push(to);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_a_circle_is_found_and_none_beside_it() {
        let sources = [
            Source::new("x/src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\n"),
            Source::new("x/src/a.rs", "use crate::b::B;\n"),
            Source::new("x/src/b.rs", "use crate::c::C;\n"),
            Source::new("x/src/c.rs", "\nuse crate::a::A;\nuse crate::d::D;\n"),
            Source::new("x/src/d.rs", "use std::fmt;\n"),
        ];
        let found = check(&sources);
        let places: Vec<(&str, usize)> =
            found.iter().map(|finding| (finding.file.as_str(), finding.line)).collect();
        assert_eq!(places, [("x/src/a.rs", 1), ("x/src/b.rs", 1), ("x/src/c.rs", 2)]);
    }
}
