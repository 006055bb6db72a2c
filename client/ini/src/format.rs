//! References to other values.

/// How references are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `%(name)s` and `%%`.
    Percent,
    /// `${name}`, `${section:name}` and `$$`.
    Braces,
}

impl Format {
    /// The format that `config_format` asks for; none when there is no such.
    pub(crate) fn of_number(number: &str) -> Option<Self> {
        match number {
            "" | "1" => Some(Self::Percent),
            "2" => Some(Self::Braces),
            _ => None,
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Percent => '%',
            Self::Braces => '$',
        }
    }

    /// What is wrong with a sign that stands alone.
    fn lone(self) -> &'static str {
        match self {
            Self::Percent => "\"%\" must be followed by \"%\" or \"(name)s\"",
            Self::Braces => "\"$\" must be followed by \"$\", \"{name}\" or \"{section:name}\"",
        }
    }

    /// The reference that a text begins with, behind its sign, and what follows it.
    fn reference(self, text: &str) -> Option<(Reference<'_>, &str)> {
        let (inner, rest) = match self {
            Self::Percent => {
                let (inner, rest) = text.strip_prefix('(')?.split_once(')')?;
                (inner, rest.strip_prefix('s')?)
            }
            Self::Braces => text.strip_prefix('{')?.split_once('}')?,
        };
        let (section, name) = match inner.split_once(':') {
            Some((section, name)) if self == Self::Braces => (Some(section), name),
            _ => (None, inner),
        };
        (!name.is_empty()).then_some((Reference { section, name }, rest))
    }

    /// The pieces of a value, in their order.
    pub(crate) fn pieces(self, text: &str) -> Pieces<'_> {
        Pieces { format: self, rest: text, reference: None }
    }
}

/// What a value refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'t> {
    /// None: the value's own.
    pub(crate) section: Option<&'t str>,
    pub(crate) name: &'t str,
}

/// A part of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    Text(&'t str),
    Reference(Reference<'t>),
}

/// Iterates over a value's pieces; an error is what is wrong with one.
pub(crate) struct Pieces<'t> {
    format: Format,
    rest: &'t str,
    /// Found behind the text that was given last.
    reference: Option<Reference<'t>>,
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Result<Piece<'t>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(reference) = self.reference.take() {
            return Some(Ok(Piece::Reference(reference)));
        }
        let sign = self.format.sign();
        let Some(at) = self.rest.find(sign) else {
            let text = std::mem::take(&mut self.rest);
            return (!text.is_empty()).then_some(Ok(Piece::Text(text)));
        };
        let (before, from) = self.rest.split_at(at);
        let after = &from[sign.len_utf8()..];
        if let Some(rest) = after.strip_prefix(sign) {
            // The first of the two stands for itself.
            let (text, _) = self.rest.split_at(at + sign.len_utf8());
            self.rest = rest;
            return Some(Ok(Piece::Text(text)));
        }
        let Some((reference, rest)) = self.format.reference(after) else {
            self.rest = after;
            return Some(Err(self.format.lone()));
        };
        self.rest = rest;
        self.reference = Some(reference);
        Some(Ok(Piece::Text(before)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, Piece, Reference};

    fn shown(format: Format, text: &str) -> Result<String, &'static str> {
        let show = |piece| match piece {
            Piece::Text(text) => text.to_owned(),
            Piece::Reference(Reference { section, name }) => {
                format!("<{}{name}>", section.map(|name| format!("{name}|")).unwrap_or_default())
            }
        };
        format.pieces(text).map(|piece| piece.map(show)).collect()
    }

    #[test]
    fn signs_are_doubled_or_begin_a_reference() {
        for (text, expected) in [
            ("", Ok("")),
            ("a%%b%%", Ok("a%b%")),
            ("%(a)s%(b:c)sd", Ok("<a><b:c>d")),
            ("%%%(a)s${a}$", Ok("%<a>${a}$")),
            ("a%", Err(())),
            ("%(a)", Err(())),
            ("%(a)d", Err(())),
            ("%()s", Err(())),
            ("%(a)b)s", Err(())),
        ] {
            let found = shown(Format::Percent, text);
            assert_eq!(found.as_deref().map_err(|_| ()), expected, "{text}");
        }
        for (text, expected) in [
            ("a$$b %(x)s 5%", Ok("a$b %(x)s 5%")),
            ("${a}${s:a}", Ok("<a><s|a>")),
            ("$a", Err(())),
            ("${a", Err(())),
            ("${}", Err(())),
            ("${s:}", Err(())),
        ] {
            let found = shown(Format::Braces, text);
            assert_eq!(found.as_deref().map_err(|_| ()), expected, "{text}");
        }
    }
}
