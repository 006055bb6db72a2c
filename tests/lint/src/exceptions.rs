//! What is known to break a rule, and is being mended.

use crate::Finding;

/// The list: `rule file`, one a line. `#` begins a comment.
pub(crate) const FILE: &str = "tests/lint/exceptions";

/// Take the listed findings out; an entry that is no longer needed becomes one.
pub(crate) fn apply(mut findings: Vec<Finding>, list: &str) -> Vec<Finding> {
    let mut left_over = Vec::new();
    for (index, line) in list.lines().enumerate() {
        let line = line.split('#').next().unwrap_or(line);
        let Some((rule, file)) = line.trim().split_once(' ') else { continue };
        let before = findings.len();
        findings.retain(|finding| !(finding.rule == rule && finding.file == file.trim()));
        if findings.len() == before {
            let what = format!("`{}` is mended or misspelt: delete the line", line.trim());
            left_over.push(Finding::new(FILE, index + 1, "exception", what));
        }
    }
    findings.extend(left_over);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_hides_its_findings_and_becomes_one_when_there_are_none() {
        let findings =
            || vec![Finding::new("a.rs", 1, "width", ""), Finding::new("b.rs", 2, "width", "")];
        let left = apply(findings(), "# why\nwidth a.rs # soon\n");
        assert_eq!(left, [Finding::new("b.rs", 2, "width", "")]);
        let left = apply(findings(), "width a.rs\nwidth b.rs\nsize a.rs\n");
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].line, left[0].rule), (3, "exception"));
    }
}
