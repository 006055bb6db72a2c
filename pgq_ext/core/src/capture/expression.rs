//! `ev_…=` and `when=` expressions: SQL in which a column's name stands for its value in the
//! current row.
//!
//! The expression becomes a query with a parameter for every column it names. Only words that are
//! exactly a column's name count, without folding: strings, comments, qualified names (`a.b` is one
//! word) and function names are left alone.

/// A query made of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<C> {
    /// `SELECT …`
    pub sql: Vec<u8>,
    /// The columns that `$1`, `$2`, … stand for.
    pub parameters: Vec<C>,
}

/// Why an expression cannot become a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadExpression {
    /// A string or comment has no end, or there is something the tokenizer does not know: a quoted
    /// identifier.
    #[error("QB: syntax error")]
    Syntax,
    /// It names more columns than a query may have parameters.
    #[error("Too many args")]
    TooManyColumns,
}

/// As many parameters as a function may have.
const MAX_PARAMETERS: usize = 100;

/// Make a query of an expression. `column` finds the column with a name.
///
/// `standard_strings` is the setting `standard_conforming_strings`: a backslash in a plain string
/// is just a backslash.
///
/// # Errors
///
/// [`BadExpression`], see there.
pub fn parse<C: Copy + PartialEq>(
    expression: &[u8],
    standard_strings: bool,
    column: impl Fn(&[u8]) -> Option<C>,
) -> Result<Query<C>, BadExpression> {
    let mut query = Query { sql: b"SELECT ".to_vec(), parameters: Vec::new() };
    let mut rest = expression;
    while !rest.is_empty() {
        let (token, after) = next_token(rest, standard_strings)?;
        let found = if token.is_word && !is_prefix_or_function(after, standard_strings) {
            column(token.text)
        } else {
            None
        };
        match found {
            Some(column) => {
                let number = query.parameter(column)?;
                query.sql.extend_from_slice(format!("${number}").as_bytes());
            }
            None => query.sql.extend_from_slice(token.text),
        }
        rest = after;
    }
    Ok(query)
}

impl<C: Copy + PartialEq> Query<C> {
    /// Number of the parameter for a column, a new one if need be.
    fn parameter(&mut self, column: C) -> Result<usize, BadExpression> {
        if let Some(at) = self.parameters.iter().position(|known| *known == column) {
            return Ok(at + 1);
        }
        if self.parameters.len() == MAX_PARAMETERS {
            return Err(BadExpression::TooManyColumns);
        }
        self.parameters.push(column);
        Ok(self.parameters.len())
    }
}

struct Token<'a> {
    text: &'a [u8],
    is_word: bool,
}

/// Split off one token. `text` is not empty.
fn next_token(text: &[u8], standard_strings: bool) -> Result<(Token<'_>, &[u8]), BadExpression> {
    let (&first, others) = text.split_first().expect("the caller has text left");
    let second = others.first().copied();
    let mut is_word = false;
    let length = match first {
        byte if is_space(byte) => run(text, is_space),
        b'-' if second == Some(b'-') => run(text, |byte| byte != b'\n'),
        b'/' if second == Some(b'*') => comment(text)?,
        b'\'' => string(text, 1, !standard_strings)?,
        b'e' | b'E' if second == Some(b'\'') => string(text, 2, true)?,
        b'$' if second.is_some_and(|byte| byte.is_ascii_digit()) => {
            1 + run(others, |byte| byte.is_ascii_digit())
        }
        b'$' => dollar_string(text)?,
        byte if byte.is_ascii_digit() => number(text),
        b'.' if second.is_some_and(|byte| byte.is_ascii_digit()) => number(text),
        byte if starts_word(byte) => {
            is_word = true;
            run(text, |byte| starts_word(byte) || byte.is_ascii_digit() || byte == b'.')
        }
        b'"' => return Err(BadExpression::Syntax),
        _ => 1,
    };
    let (token, after) = text.split_at(length);
    Ok((Token { text: token, is_word }, after))
}

/// True when the word before `after` is a function's name (`lower (x)`) or a string's prefix
/// (`b'01'`).
fn is_prefix_or_function(after: &[u8], standard_strings: bool) -> bool {
    if after.first() == Some(&b'\'') {
        return true;
    }
    let mut rest = after;
    while !rest.is_empty() {
        let Ok((token, next)) = next_token(rest, standard_strings) else { return false };
        let blank = token.text.first().is_some_and(|&byte| is_space(byte))
            || token.text.starts_with(b"--")
            || token.text.starts_with(b"/*");
        if !blank {
            return token.text == b"(";
        }
        rest = next;
    }
    false
}

fn is_space(byte: u8) -> bool {
    byte == 0x0b || byte.is_ascii_whitespace()
}

/// Letters, as PostgreSQL's scanner sees them: every byte above 127 is one.
fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// Length of the leading run of bytes that `belongs` accepts.
fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|&byte| !belongs(byte)).unwrap_or(text.len())
}

/// Length of a comment, which may contain comments.
fn comment(text: &[u8]) -> Result<usize, BadExpression> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(pair) = text.get(at..at + 2) {
        at += match pair {
            b"/*" => {
                depth += 1;
                2
            }
            b"*/" => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        if depth == 0 {
            return Ok(at);
        }
    }
    Err(BadExpression::Syntax)
}

/// Length of a string whose contents begin at `start`. A doubled quote ends one string and begins
/// the next.
fn string(text: &[u8], start: usize, escapes: bool) -> Result<usize, BadExpression> {
    let mut at = start;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\'' => return Ok(at + 1),
            b'\\' if escapes => at += 2,
            _ => at += 1,
        }
    }
    Err(BadExpression::Syntax)
}

/// Length of `$tag$…$tag$`.
fn dollar_string(text: &[u8]) -> Result<usize, BadExpression> {
    let inner = text.strip_prefix(b"$").expect("the caller has seen the first dollar");
    let tag = run(inner, |byte| starts_word(byte) || byte.is_ascii_digit());
    if inner.get(tag) != Some(&b'$') {
        return Err(BadExpression::Syntax);
    }
    let (delimiter, body) = text.split_at(tag + 2);
    body.windows(delimiter.len())
        .position(|window| window == delimiter)
        .map(|at| delimiter.len() * 2 + at)
        .ok_or(BadExpression::Syntax)
}

/// Length of a number: digits and dots, with an exponent if digits follow it.
fn number(text: &[u8]) -> usize {
    let mantissa = run(text, |byte| byte.is_ascii_digit() || byte == b'.');
    let rest = &text[mantissa..];
    let sign = match rest {
        [b'e' | b'E', b'+' | b'-', ..] => 2,
        [b'e' | b'E', ..] => 1,
        _ => return mantissa,
    };
    match run(&rest[sign..], |byte| byte.is_ascii_digit()) {
        0 => mantissa,
        digits => mantissa + sign + digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert_eq, proptest};

    fn query(expression: &str) -> Result<(String, Vec<usize>), BadExpression> {
        let names = ["a", "b", "A", "lower", "e5", "é", "x1"];
        let column = |name: &[u8]| names.iter().position(|candidate| candidate.as_bytes() == name);
        let query = parse(expression.as_bytes(), true, column)?;
        Ok((String::from_utf8(query.sql).unwrap(), query.parameters))
    }

    #[test]
    fn columns_become_parameters() {
        assert_eq!(query("a || b||a").unwrap(), ("SELECT $1 || $2||$1".into(), vec![0, 1]));
        assert_eq!(query("A+x1").unwrap(), ("SELECT $1+$2".into(), vec![2, 6]));
        assert_eq!(query("ar[a]").unwrap(), ("SELECT ar[$1]".into(), vec![0]));
        assert_eq!(query("é").unwrap(), ("SELECT $1".into(), vec![5]));
    }

    #[test]
    fn what_only_looks_like_a_column_is_left_alone() {
        for expression in [
            "t.a",
            "a.b",
            "'a'",
            "E'a\\' a'",
            "$$a$$",
            "$x$ a $ b $x$",
            "$1",
            "1e5",
            "1.5e-3",
            ".5",
            "/* a /* b */ a */",
            "-- a",
            "lower ('x')",
            "lower/* a */(1)",
            "b'01'",
            "aa",
            "Lower",
            "'it''s a'",
            "'a\\'",
            "",
            "1 /",
        ] {
            assert_eq!(query(expression).unwrap(), (format!("SELECT {expression}"), vec![]));
        }
        assert_eq!(query("lower(lower)").unwrap(), ("SELECT lower($1)".into(), vec![3]));
        assert_eq!(query("-- a\na").unwrap(), ("SELECT -- a\n$1".into(), vec![0]));
        assert_eq!(query("a -- x").unwrap(), ("SELECT $1 -- x".into(), vec![0]));
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for expression in
            ["\"a\"", "'a", "E'a\\'", "$$a", "$x$ $y$", "$a", "$", "/* a", "/* /* */", "a$"]
        {
            assert_eq!(query(expression), Err(BadExpression::Syntax), "{expression}");
        }
    }

    #[test]
    fn strings_obey_the_setting() {
        assert!(parse(br"'a\'", false, |_| None::<u8>).is_err());
        assert!(parse(br"'a\''", false, |_| None::<u8>).is_ok());
    }

    #[test]
    fn parameters_are_limited() {
        let all = |count: usize| vec!["a"; count].join("1+") + "1";
        let column = |name: &[u8]| name.strip_prefix(b"a").map(|_| name.as_ptr());
        assert_eq!(parse(all(100).as_bytes(), true, column).unwrap().parameters.len(), 100);
        assert_eq!(parse(all(101).as_bytes(), true, column), Err(BadExpression::TooManyColumns));
    }

    proptest! {
        #[test]
        fn without_columns_the_text_stays_as_it_is(text in "[a-z0-9'$*/\\\\\" .(-]{0,24}") {
            if let Ok(query) = parse(text.as_bytes(), true, |_| None::<u8>) {
                prop_assert_eq!(query.sql, [b"SELECT ", text.as_bytes()].concat());
            }
        }
    }
}
