//! Messages that the documents quote are messages of the programs: each is in a source.
//!
//! A quote stands between backticks in a column of a table whose head says "message". In it a word
//! in capitals and `…` stand for what a message fills in. Sections named "PostgreSQL" are free.

use crate::Finding;
use crate::source::Source;

/// What the server says itself.
const OF_THE_SERVER: [&str; 3] =
    ["permission denied for function ", "could not access file ", "could not find function "];

/// What is put together of parts in several sources.
const PUT_TOGETHER: [&str; 8] = [
    "Queue name must not be NULL",
    "ev_type must not be NULL",
    "payloads must not be NULL",
    "location must not be NULL",
    "pgq.logutriga not called as trigger",
    "event of table SCHEMA.TABLE: the text exceeds the limit of N bytes",
    "extension \"pgq\" is older than 4.0",
    "extension \"pgq_node\" is …",
];

/// Which files have messages.
pub(crate) fn may_say(path: &str) -> bool {
    let roots = ["pgq_ext/", "pgq_ticker_bgw/", "client/", "walmgr/", "sql/"];
    roots.iter().any(|root| path.starts_with(root))
        && (path.ends_with(".rs") || path.ends_with(".sql"))
}

pub(crate) fn check(pages: &[Source], sources: &[Source]) -> Vec<Finding> {
    let sources: Vec<String> = sources.iter().map(|source| said(&source.text)).collect();
    let mut findings = Vec::new();
    for page in pages.iter().filter(|page| page.path.starts_with("docs/")) {
        for (line, quote) in quotes(&page.text) {
            let is_free = PUT_TOGETHER.contains(&&*quote)
                || OF_THE_SERVER.iter().any(|begin| quote.starts_with(begin));
            if !is_free && !sources.iter().any(|source| says(source, &quote)) {
                let what = format!("no source says \"{quote}\"");
                findings.push(Finding::new(&page.path, line, "quote", what));
            }
        }
    }
    findings
}

/// Quotes of messages, with their lines.
fn quotes(text: &str) -> Vec<(usize, String)> {
    let mut quotes = Vec::new();
    let (mut column, mut is_free) = (None, false);
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('#') {
            is_free = line.contains("PostgreSQL");
        }
        if !line.starts_with('|') {
            column = None;
            continue;
        }
        let cells: Vec<&str> = line.split('|').collect();
        match column {
            // The head of a table.
            None => {
                let is_message = |cell: &&str| cell.to_lowercase().contains("message");
                column = Some(cells.iter().position(is_message));
            }
            Some(Some(at)) if !is_free => {
                let cell = cells.get(at).copied().unwrap_or("");
                let spans = cell.split('`').skip(1).step_by(2);
                quotes.extend(spans.map(|span| (number, span.to_owned())));
            }
            Some(_) => {}
        }
    }
    quotes
}

/// A source with its strings in one piece.
fn said(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.trim_start();
        // A string of SQL that goes on from the line before; one of Rust ends with a backslash.
        match line.strip_prefix('\'') {
            Some(rest) if out.ends_with("'\n") => {
                out.truncate(out.len() - 2);
                out.push_str(rest);
            }
            _ if out.ends_with("\\\n") => {
                out.truncate(out.len() - 2);
                out.push_str(line);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out.replace("\\\"", "\"").replace("''", "'")
}

/// Whether all parts of a quote that are fixed stand in a source.
fn says(source: &str, quote: &str) -> bool {
    if source.contains(quote) {
        return true;
    }
    let parts: Vec<String> = fixed(quote);
    !parts.is_empty() && parts.iter().all(|part| source.contains(&**part))
}

/// The parts between words in capitals.
fn fixed(quote: &str) -> Vec<String> {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut parts = vec![String::new()];
    let mut rest = quote;
    while let Some(first) = rest.chars().next() {
        let end =
            rest.find(|letter| !is_letter(letter)).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, after) = rest.split_at(end);
        let name = if word.len() > 3 { word.trim_end_matches('s') } else { word };
        let is_open = first == '…' || name.chars().all(|letter| letter.is_ascii_uppercase());
        if is_open {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push_str(word);
        }
        rest = after;
    }
    parts
        .iter()
        .map(|part| part.trim_matches([' ', '"', '\'', ':', '(', ')', '/', '=', ',']))
        .filter(|part| part.chars().filter(|letter| letter.is_alphabetic()).count() > 2)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source;

    #[test]
    fn this_repository_says_what_its_documents_quote() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let paths = source::list(root).unwrap();
        let pages = source::read(root, &paths, |path| path.ends_with(".md")).unwrap();
        assert!(pages.iter().map(|page| quotes(&page.text).len()).sum::<usize>() > 100);
        assert_eq!(check(&pages, &source::read(root, &paths, may_say).unwrap()), []);
    }

    fn is_said(quote: &str, text: &str) -> bool {
        says(&said(text), quote)
    }

    #[test]
    fn what_is_filled_in_may_be_anything() {
        for text in [
            "raise exception 'batch % of \"%\" is gone'",
            "#[error(\"batch {batch} of \\\"{name}\\\" is gone\")]",
            "format('batch %s '\n       'of \"%s\" is gone')",
            "\"batch {batch} \\\n     of \\\"{name}\\\" is gone\"",
        ] {
            assert!(is_said("batch BATCH of \"NAME\" is gone", text), "{text}");
            assert!(is_said("… is gone", text), "{text}");
            assert!(!is_said("batch BATCH of \"NAME\" is lost", text), "{text}");
        }
        assert!(is_said("Queue 'QUEUE' allows", "raise 'Queue ''%'' allows'"));
        assert!(!is_said("NAME", "names"));
    }

    #[test]
    fn messages_stand_in_their_column() {
        let page = "# A\n| why | message |\n|---|---|\n| `x` | `y`, `z` |\n\n| why |\n|---|\n| `a` |\n\
                    # Of PostgreSQL\n| message |\n|---|\n| `b` |\n";
        assert_eq!(quotes(page), [(4, "y".to_owned()), (4, "z".to_owned())]);
    }
}
