//! No files that import each other, directly or through others.

use std::collections::{BTreeMap, VecDeque};

use crate::Finding;
use crate::imports::{self, Graph};
use crate::source::Source;

pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let graph = imports::graph(sources);
    let mut findings = Vec::new();
    for (file, imported) in &graph {
        let Some(circle) = shortest(&graph, file) else { continue };
        let line = circle.first().and_then(|first| imported.get(*first)).copied();
        let line = line.expect("a circle begins with an import of the file");
        let room = room(file);
        let inside = |other: &&str| other.strip_prefix(room).unwrap_or(other).to_owned();
        let circle: Vec<String> = circle.iter().map(inside).collect();
        let what = format!("in {room} it reaches itself by {}", circle.join(", "));
        findings.push(Finding::new(file, line, "circle", what));
    }
    findings
}

/// The other files of the shortest way from a file back to itself, in order.
fn shortest<'a>(graph: &'a Graph, file: &str) -> Option<Vec<&'a str>> {
    let imports = |of: &str| graph.get(of).into_iter().flat_map(|to| to.keys().map(String::as_str));
    // From where each file was reached first; a circle of one is none.
    let mut before: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    let mut next = VecDeque::new();
    for to in imports(file).filter(|to| *to != file) {
        before.insert(to, None);
        next.push_back(to);
    }
    while let Some(here) = next.pop_front() {
        for to in imports(here) {
            if to == file {
                let back = |at: &&'a str| before.get(at).copied().flatten();
                let mut way: Vec<&str> = std::iter::successors(Some(here), back).collect();
                way.reverse();
                return Some(way);
            }
            before.entry(to).or_insert_with(|| {
                next.push_back(to);
                Some(here)
            });
        }
    }
    None
}

/// The folder of a file's crate: circles stay in it.
fn room(file: &str) -> &str {
    let end = file.find("/src/").map(|place| place + "/src/".len());
    end.or_else(|| file.rfind('/').map(|place| place + 1))
        .and_then(|end| file.get(..end))
        .unwrap_or_default()
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

    #[test]
    fn the_shortest_circle_is_told_in_the_order_of_its_imports() {
        let sources = [
            Source::new("x/src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\n"),
            Source::new("x/src/a.rs", "use crate::a::A;\nuse crate::b::B;\n"),
            Source::new("x/src/b.rs", "use crate::c::C;\nuse crate::d::D;\n"),
            Source::new("x/src/c.rs", "use crate::d::D;\n"),
            Source::new("x/src/d.rs", "use crate::a::A;\n"),
        ];
        let found = check(&sources);
        let of = |file| found.iter().find(|finding| finding.file == file).unwrap();
        assert_eq!(of("x/src/a.rs").line, 2);
        assert_eq!(of("x/src/a.rs").what, "in x/src/ it reaches itself by b.rs, d.rs");
        assert_eq!(of("x/src/c.rs").what, "in x/src/ it reaches itself by d.rs, a.rs, b.rs");
    }
}
