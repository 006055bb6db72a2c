//! Lines of a file into sections, keys and values.

use std::collections::BTreeMap;

/// The section that stands behind all others.
pub(crate) const DEFAULT: &str = "DEFAULT";

/// Keys and what they are set to.
pub(crate) type Options = BTreeMap<String, Value>;

/// A value as it is written, references and all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) text: String,
    /// A `;` after a space: a comment to one Python, a part of the value to the other.
    pub(crate) is_disputed: bool,
}

/// Everything that was read so far, and where in the text we are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parser {
    pub(crate) defaults: Options,
    pub(crate) sections: Vec<(String, Options)>,
    /// Bytes of the files so far.
    pub(crate) size: usize,
    section: Option<Place>,
    /// The key that a deeper line continues, and how deep its own is.
    last: Option<(String, usize)>,
}

/// Whose keys come now.
#[derive(Clone, Copy, Debug)]
enum Place {
    Defaults,
    /// By its number.
    Section(usize),
}

/// What a line is, apart from what came before it.
enum Line<'l> {
    /// Blank, or a comment.
    Nothing,
    Include(&'l str),
    Other,
}

fn classify(line: &str) -> Line<'_> {
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
        return Line::Nothing;
    }
    match line.strip_prefix("%include").filter(|file| file.starts_with([' ', '\t'])) {
        Some(file) => Line::Include(file.trim()),
        None => Line::Other,
    }
}

/// The name in a header. What follows the bracket is no part of it.
fn header(trimmed: &str) -> Option<Result<&str, &'static str>> {
    let (name, rest) = trimmed.strip_prefix('[')?.split_once(']')?;
    Some(match name {
        "" => Err("a section without a name"),
        _ if rest.contains(']') => Err("a bracket in the name of a section"),
        name => Ok(name),
    })
}

/// The section that a text begins with, if the first line that says anything is a header. So one
/// can tell whether a text is an INI file.
pub fn first_section(text: &str) -> Option<&str> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let first = text.lines().find(|line| !matches!(classify(line), Line::Nothing))?;
    header(first.trim())?.ok()
}

/// What some editors put at the beginning of a file.
pub(crate) const BOM: char = '\u{feff}';

impl Parser {
    /// Take a line; the file that it includes, if it does.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn take<'l>(&mut self, line: &'l str) -> Result<Option<&'l str>, String> {
        match classify(line) {
            Line::Nothing => Ok(None),
            Line::Include(file) => {
                self.last = None;
                Ok(Some(file))
            }
            Line::Other => self.take_words(line).map(|()| None),
        }
    }

    /// An included file ended.
    pub(crate) fn end_include(&mut self) {
        self.last = None;
    }

    fn take_words(&mut self, line: &str) -> Result<(), String> {
        let trimmed = line.trim();
        let depth = line.chars().take_while(|char| char.is_whitespace()).count();
        if let (Some(place), Some((key, own))) = (self.section, &self.last)
            && depth > *own
        {
            let key = key.clone();
            let value = self.options(place).get_mut(&key).expect("the line before set this key");
            value.text.push('\n');
            value.text.push_str(trimmed);
            return Ok(());
        }
        if let Some(name) = header(trimmed) {
            return self.begin_section(name?);
        }
        let Some(place) = self.section else {
            return Err("a key before any [section]".to_owned());
        };
        let Some((key, value)) = trimmed.split_once(['=', ':']) else {
            return Err("neither [section] nor \"key = value\"".to_owned());
        };
        let key = key.trim().to_lowercase();
        if key.is_empty() {
            return Err("a value without a key".to_owned());
        }
        if self.options(place).contains_key(&key) {
            let section = self.name(place);
            return Err(format!("key \"{key}\" appears twice in [{section}]"));
        }
        self.options(place).insert(key.clone(), value_of(value.trim()));
        self.last = Some((key, depth));
        Ok(())
    }

    fn begin_section(&mut self, name: &str) -> Result<(), String> {
        self.last = None;
        if name == DEFAULT {
            self.section = Some(Place::Defaults);
            return Ok(());
        }
        if self.sections.iter().any(|(own, _)| own == name) {
            return Err(format!("section [{name}] appears twice"));
        }
        self.section = Some(Place::Section(self.sections.len()));
        self.sections.push((name.to_owned(), Options::new()));
        Ok(())
    }

    fn options(&mut self, place: Place) -> &mut Options {
        match place {
            Place::Defaults => &mut self.defaults,
            Place::Section(number) => &mut self.sections[number].1,
        }
    }

    fn name(&self, place: Place) -> &str {
        match place {
            Place::Defaults => DEFAULT,
            Place::Section(number) => &self.sections[number].0,
        }
    }
}

/// What stands behind `=`, without the space around it.
fn value_of(text: &str) -> Value {
    if text == "\"\"" {
        return Value::default();
    }
    let before = text.split_once(';').map(|(before, _)| before);
    let is_disputed = before.is_some_and(|before| before.ends_with(char::is_whitespace));
    Value { text: text.to_owned(), is_disputed }
}
