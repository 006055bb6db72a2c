//! Parameters of statements whose texts are made at run time.

use pgrx::pg_sys;

use super::string::converted_to_server;
use super::text::{Text, Texts};
use super::value::Value;

/// A parameter of a statement, in UTF-8.
#[derive(Clone, Copy, Debug)]
pub enum Parameter<'a> {
    /// `text`
    Text(Option<&'a str>),
    /// `text[]`
    Texts(&'a [Option<&'a str>]),
}

impl Parameter<'_> {
    /// Its type.
    pub(crate) fn type_oid(&self) -> pg_sys::Oid {
        match self {
            Self::Text(_) => pg_sys::TEXTOID,
            Self::Texts(_) => pg_sys::TEXTARRAYOID,
        }
    }

    /// Its text form; none for NULL.
    pub(crate) fn literal(&self) -> Option<String> {
        match self {
            Self::Text(value) => value.map(str::to_owned),
            Self::Texts(elements) => {
                let element = |element: &Option<&str>| match element {
                    None => "NULL".to_owned(),
                    Some(text) => {
                        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
                    }
                };
                let elements: Vec<_> = elements.iter().map(element).collect();
                Some(format!("{{{}}}", elements.join(",")))
            }
        }
    }

    /// The value, made in the current memory context. Raises an error for what the database's
    /// encoding cannot say.
    pub(crate) fn value(&self) -> Value {
        let text = |text: &str| Text::new(&converted_to_server(text));
        match self {
            Self::Text(value) => value.map(text).into(),
            Self::Texts(elements) => {
                let elements: Vec<_> = elements.iter().map(|value| value.map(text)).collect();
                Value::Texts(Texts::new(&elements))
            }
        }
    }
}
