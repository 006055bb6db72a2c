//! Links of the documents: each leads to a file of the repository, and to a heading of it. The
//! book is `docs/`: `SUMMARY.md` lists each of its pages once, and a page links to others of it.

use crate::Finding;
use crate::source::Source;

const BOOK: &str = "docs/";
const SUMMARY: &str = "docs/SUMMARY.md";

/// A link, and the line where it stands.
struct Link<'a> {
    line: usize,
    target: &'a str,
}

/// `paths` are all files that git knows.
pub(crate) fn check(pages: &[Source], paths: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in pages {
        for link in links(&page.text) {
            if let Some(what) = fault(page, &link, pages, paths) {
                findings.push(Finding::new(&page.path, link.line, "link", what));
            }
        }
    }
    findings.extend(summary(pages));
    findings
}

/// What is wrong with a link.
fn fault(page: &Source, link: &Link<'_>, pages: &[Source], paths: &[String]) -> Option<String> {
    let target = link.target;
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { page.path.clone() } else { resolve(&page.path, file) };
    if !paths.contains(&path) {
        return Some(format!("{target}: there is no {path}"));
    }
    if page.path.starts_with(BOOK) && !path.starts_with(BOOK) {
        return Some(format!("{target} is not in the book"));
    }
    let there = pages.iter().find(|page| page.path == path)?;
    let is_found = anchor.is_empty() || anchors(&there.text).iter().any(|found| found == anchor);
    (!is_found).then(|| format!("{target}: no heading of {path} has this anchor"))
}

/// A path relative to a file, from the root.
fn resolve(from: &str, to: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Lines that are no code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_fence && !is_code
    })
}

/// Links and pictures. A link may be wrapped, its target is on one line.
fn links(text: &str) -> Vec<Link<'_>> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        // Every other piece between backticks is code.
        for piece in line.split('`').step_by(2) {
            for rest in piece.split("](").skip(1) {
                if let Some((target, _)) = rest.split_once(')') {
                    links.push(Link { line: number, target });
                }
            }
        }
    }
    links
}

/// What headings are called in links, as GitHub and mdBook do it.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    for (_, heading) in headings {
        let name: String = heading
            .trim_start_matches('#')
            .trim()
            .chars()
            .filter(|&letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
            .flat_map(char::to_lowercase)
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        let is_same = |found: &&String| {
            found.strip_prefix(&*name).is_some_and(|rest| {
                rest.is_empty()
                    || rest.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok())
            })
        };
        let before = anchors.iter().filter(is_same).count();
        anchors.push(if before == 0 { name } else { format!("{name}-{before}") });
    }
    anchors
}

/// Pages that the table of contents lacks, or has twice.
fn summary(pages: &[Source]) -> Vec<Finding> {
    let Some(summary) = pages.iter().find(|page| page.path == SUMMARY) else {
        return Vec::new();
    };
    let listed: Vec<String> = links(&summary.text)
        .iter()
        .filter_map(|link| link.target.split('#').next())
        .map(|file| resolve(SUMMARY, file))
        .collect();
    let mut findings = Vec::new();
    for page in pages.iter().filter(|page| page.path.starts_with(BOOK) && page.path != SUMMARY) {
        let times = listed.iter().filter(|path| **path == page.path).count();
        if times != 1 {
            let what = format!("{SUMMARY} lists it {times} times, not once");
            findings.push(Finding::new(&page.path, 1, "page", what));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source;

    #[test]
    fn the_documents_of_this_repository_are_in_order() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let paths = source::list(root).unwrap();
        let pages = source::read(root, &paths, |path| path.ends_with(".md")).unwrap();
        assert!(pages.iter().any(|page| page.path == SUMMARY));
        assert_eq!(check(&pages, &paths), []);
    }

    fn found(pages: &[(&str, &str)]) -> Vec<String> {
        let pages: Vec<Source> = pages.iter().map(|(path, text)| Source::new(path, text)).collect();
        let mut paths: Vec<String> = pages.iter().map(|page| page.path.clone()).collect();
        paths.push("LICENSE".to_owned());
        check(&pages, &paths).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let there = ("docs/b.md", "# Names in `pgq.queue`\n## Twice\n## Twice\n");
        for (link, is_right) in [
            ("b.md", true),
            ("./b.md#names-in-pgqqueue", true),
            ("b.md#twice-1", true),
            ("../docs/b.md", true),
            ("#here", true),
            ("https://example.org/c.md", true),
            ("c.md", false),
            ("b.md#nowhere", false),
            ("b.md#twice-2", false),
            ("#there", false),
            ("../LICENSE", false),
        ] {
            let text = format!("# Here\nsee [this\nthing]({link}).\n");
            let found = found(&[("docs/a.md", &text), there]);
            assert_eq!(found.is_empty(), is_right, "{link}: {found:?}");
        }
    }

    #[test]
    fn code_has_no_links() {
        assert!(found(&[("a.md", "`[x](y)`\n```\n[x](y)\n# z\n```\n[l](LICENSE)")]).is_empty());
        assert!(!found(&[("a.md", "```\n# z\n```\n[x](#z)")]).is_empty());
    }

    #[test]
    fn each_page_is_listed_once() {
        let summary = ("docs/SUMMARY.md", "- [A](a.md)\n- [B](b.md)\n- [B](b.md#b)\n");
        let pages = [summary, ("docs/a.md", ""), ("docs/b.md", "# B"), ("docs/c.md", "")];
        assert_eq!(found(&pages).len(), 2, "{:?}", found(&pages));
    }
}
