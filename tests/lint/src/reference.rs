//! Pages of the SQL functions, `docs/sql-EXTENSION.md`: heads and contract blocks of `sql/`, in the
//! order of the manifests. They are kept in the repository, and are what the sources say.

use crate::Finding;
use crate::source::Source;

/// What the pages are made of.
pub(crate) fn is_source(path: &str) -> bool {
    path.starts_with("sql/") && (path.ends_with("/manifest") || path.contains("/functions/"))
}

/// All pages, with their paths.
pub(crate) fn pages(sources: &[Source]) -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for manifest in sources.iter().filter(|source| source.path.ends_with("/manifest")) {
        let Some(extension) = manifest.path.split('/').nth(1) else { continue };
        let mut page = format!(
            "# Functions of {extension}\n\n\
             What the sources say of each function that is not internal. SQLSTATEs are explained \
             in\n[errors.md](errors.md).\n"
        );
        for line in manifest.text.lines() {
            let file = line.split(' ').nth(1).map(|file| format!("sql/{extension}/{file}"));
            let source = sources.iter().find(|source| Some(&source.path) == file.as_ref());
            if let Some(source) = source.filter(|source| source.path.contains("/functions/")) {
                for function in functions(&source.text) {
                    page.push_str(&function);
                }
            }
        }
        pages.push((format!("docs/sql-{extension}.md"), page));
    }
    pages
}

/// Pages that are not what the sources say.
pub(crate) fn check(documents: &[Source], sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, page) in pages(sources) {
        if documents.iter().all(|document| document.path != path || document.text != page) {
            let what = "it is not what sql/ says: make reference, and commit it";
            findings.push(Finding::new(&path, 1, "reference", what));
        }
    }
    findings
}

/// The entries of a file.
fn functions(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = ["create or replace function ", "create or replace procedure "];
    let mut entries = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(first) = starts.iter().find_map(|start| line.strip_prefix(start)) else {
            continue;
        };
        let is_internal = first.split_once('.').is_some_and(|(_, name)| name.starts_with('_'));
        let rest = lines.get(at..).unwrap_or(&[]);
        if let Some(entry) = entry(first, rest).filter(|_| !is_internal) {
            entries.push(entry);
        }
    }
    entries
}

/// One function: `lines` begin with its head.
fn entry(first: &str, lines: &[&str]) -> Option<String> {
    let is_rule = |line: &&str| line.starts_with("-- -----");
    let head = lines.iter().skip(1).take_while(|line| !line.starts_with("language "));
    let head: Vec<&str> = std::iter::once(first).chain(head.copied()).collect();
    let own = lines.iter().take_while(|line| !line.starts_with("comment on "));
    let block = own.skip_while(|line| !is_rule(line)).skip(1);
    let mut block = block.take_while(|line| !is_rule(line)).map(|line| {
        let line = line.strip_prefix("--").unwrap_or(line);
        line.strip_prefix(' ').unwrap_or(line)
    });
    let title = block.next()?.split_once(": ")?.1;
    let (mut says, mut details) = (Vec::new(), Vec::new());
    for line in block {
        if details.is_empty() && line.starts_with(' ') {
            says.push(line.trim());
        } else {
            details.push(line.strip_prefix(' ').filter(|_| line.starts_with(' ')).unwrap_or(line));
        }
    }
    let mut entry =
        format!("\n### {title}\n\n{}\n\n```text\n{}\n", says.join("\n"), head.join("\n"));
    if !details.is_empty() {
        entry.push_str(&format!("\n{}\n", details.join("\n")));
    }
    entry.push_str("```\n");
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
create or replace function pgq.do(
    a   text,
    out b text)
returns text
language sql
as $$
-- -----
-- Function: pgq.do(1)
--      Does it
--      well.
-- Parameters:
--      a   what
-- Returns: b
-- -----
select 1
$$;
create or replace function pgq._inner() returns text language sql as $$
-- -----
-- Function: pgq._inner(0)
--      Hidden.
-- -----
$$;
";

    #[test]
    fn a_page_has_head_and_contract_of_what_is_public() {
        let sources = [
            Source::new("sql/pgq/manifest", "version 4.0\nboth functions/do.sql\n"),
            Source::new("sql/pgq/functions/do.sql", FILE),
        ];
        let pages = pages(&sources);
        let (path, page) = pages.first().expect("one page");
        assert_eq!(path, "docs/sql-pgq.md");
        let expected = "### pgq.do(1)\n\nDoes it\nwell.\n\n```text\npgq.do(\n    a   text,\n    out b \
                        text)\nreturns text\n\nParameters:\n    a   what\nReturns: b\n```\n";
        assert!(page.ends_with(expected), "{page}");
        assert!(check(&[Source::new(path, page)], &sources).is_empty());
        assert_eq!(check(&[Source::new(path, "old")], &sources).len(), 1);
        assert_eq!(check(&[], &sources).len(), 1);
    }
}
