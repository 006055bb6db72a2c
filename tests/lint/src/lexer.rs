//! What is code in a Rust file, and what is text in it.

/// A Rust file taken apart.
pub(crate) struct Lexed {
    /// The file with comments and the insides of literals blanked. Lines are where they were.
    pub(crate) code: String,
    /// By line from zero: a string literal that began on an earlier line goes on here.
    pub(crate) continues: Vec<bool>,
    /// By line from zero: a string literal begins here.
    pub(crate) begins: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    LineComment,
    BlockComment(usize),
    /// With as many `#` as close it; none: escapes count.
    Text(Option<usize>),
}

/// Take a file apart.
pub(crate) fn lex(text: &str) -> Lexed {
    let chars: Vec<char> = text.chars().collect();
    let lines = text.lines().count() + 1;
    let mut lexed = Lexed {
        code: String::with_capacity(text.len()),
        continues: vec![false; lines],
        begins: vec![false; lines],
    };
    let (mut at, mut line, mut state) = (0, 0, State::Code);
    while let Some(&here) = chars.get(at) {
        let next = chars.get(at + 1).copied().unwrap_or('\0');
        // How many characters this step takes, and whether they are code.
        let (mut taken, mut is_code) = (1, false);
        match state {
            State::Code => {
                is_code = true;
                if here == '/' && next == '/' {
                    (state, is_code) = (State::LineComment, false);
                } else if here == '/' && next == '*' {
                    (state, is_code, taken) = (State::BlockComment(1), false, 2);
                } else if here == '"' {
                    state = State::Text(raw_hashes(&chars, at));
                    mark(&mut lexed.begins, line);
                } else if here == '\'' {
                    taken = char_literal(&chars, at);
                    is_code = taken == 1;
                }
            }
            State::LineComment if here == '\n' => state = State::Code,
            State::BlockComment(depth) if here == '*' && next == '/' => {
                taken = 2;
                state = if depth == 1 { State::Code } else { State::BlockComment(depth - 1) };
            }
            State::BlockComment(depth) if here == '/' && next == '*' => {
                (taken, state) = (2, State::BlockComment(depth + 1));
            }
            State::Text(None) if here == '\\' => taken = 2,
            State::Text(hashes) if here == '"' && closes(&chars, at, hashes.unwrap_or(0)) => {
                (state, is_code) = (State::Code, true);
            }
            _ => {}
        }
        for &character in chars.iter().skip(at).take(taken) {
            if character == '\n' {
                lexed.code.push('\n');
                line += 1;
                if matches!(state, State::Text(_)) {
                    mark(&mut lexed.continues, line);
                }
            } else {
                lexed.code.push(if is_code { character } else { ' ' });
            }
        }
        at += taken;
    }
    lexed
}

fn mark(lines: &mut [bool], line: usize) {
    if let Some(mark) = lines.get_mut(line) {
        *mark = true;
    }
}

/// Of a quote: how many `#` stand before it, if it begins a raw string.
fn raw_hashes(chars: &[char], quote: usize) -> Option<usize> {
    let before = chars.get(..quote)?;
    let hashes = before.iter().rev().take_while(|&&character| character == '#').count();
    (before.iter().rev().nth(hashes) == Some(&'r')).then_some(hashes)
}

fn closes(chars: &[char], quote: usize, hashes: usize) -> bool {
    chars.iter().skip(quote + 1).take(hashes).filter(|&&character| character == '#').count()
        == hashes
}

/// Length of the character literal at a single quote; 1 if it begins a lifetime.
fn char_literal(chars: &[char], quote: usize) -> usize {
    let escaped = chars.get(quote + 1) == Some(&'\\');
    let from = if escaped { quote + 3 } else { quote + 2 };
    let most = if escaped { 10 } else { 1 };
    match chars.iter().skip(from).take(most).position(|&character| character == '\'') {
        Some(offset) => from + offset + 1 - quote,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays_where_it_is() {
        let text = "let a = \"x // \\\" y\"; // c \"\nlet b: &'a u8 = b'\"'; /* d /* e */ f */ g\n";
        let code = lex(text).code;
        assert_eq!(code.len(), text.len());
        let words: Vec<&str> = code.split_whitespace().collect();
        let expected = ["let", "a", "=", "\"", "\";", "let", "b:", "&'a", "u8", "=", "b", ";", "g"];
        assert_eq!(words, expected);
    }

    #[test]
    fn a_raw_string_ends_at_its_own_hashes() {
        let lexed = lex("let a = r#\"one \" two\nthree\"#; b\n");
        assert_eq!(lexed.code.trim_end().chars().last(), Some('b'));
        assert_eq!(lexed.begins, [true, false, false]);
        assert_eq!(lexed.continues, [false, true, false]);
    }
}
