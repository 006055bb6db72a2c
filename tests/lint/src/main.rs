//! `make lint`'s part of CODING.md: what neither the compiler nor clippy can see.
//!
//! Reads the files that git knows, prints `file:line: rule: what` for each finding, and exits
//! with 1 if there is one. `ROOT --write-reference` writes the pages that are made of `sql/`.

mod circles;
mod fallbacks;
mod files;
mod headers;
mod imports;
mod layers;
mod lexer;
mod pages;
mod quotes;
mod reference;
mod sleeps;
mod source;
mod width;

use std::io::{self, Write};
use std::process::ExitCode;

use source::Source;

/// Something that is not as CODING.md says.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    rule: &'static str,
    what: String,
}

impl Finding {
    fn new(file: &str, line: usize, rule: &'static str, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, rule, what: what.into() }
    }
}

fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(files::check(source));
        findings.extend(width::check(source));
        findings.extend(headers::check(source));
        findings.extend(sleeps::check(source));
        findings.extend(fallbacks::check(source));
    }
    findings.extend(layers::check(sources));
    findings.extend(circles::check(sources));
    findings
}

fn main() -> io::Result<ExitCode> {
    let root = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let paths = source::list(&root)?;
    if std::env::args().nth(2).as_deref() == Some("--write-reference") {
        for (path, page) in reference::pages(&source::read(&root, &paths, reference::is_source)?) {
            std::fs::write(format!("{root}/{path}"), page)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut findings = check(&source::read(&root, &paths, source::has_rules)?);
    let pages = source::read(&root, &paths, |path| path.ends_with(".md"))?;
    findings.extend(pages::check(&pages, &paths));
    let functions = source::read(&root, &paths, reference::is_source)?;
    findings.extend(reference::check(&pages, &functions));
    findings.extend(quotes::check(&pages, &source::read(&root, &paths, quotes::may_say)?));
    let mut out = io::stdout().lock();
    for finding in &findings {
        let Finding { file, line, rule, what } = finding;
        writeln!(out, "{file}:{line}: {rule}: {what}")?;
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
