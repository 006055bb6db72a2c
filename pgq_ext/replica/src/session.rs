//! What this crate asks of a connection, or of a backend's own session.

use std::fmt::{Debug, Display};

use crate::error::Error;

/// A session inside a transaction, or one that commits each statement. Whoever implements it runs
/// statements whose texts are made here.
pub trait Session {
    /// What statements fail with.
    type Error: Failure;

    /// Run one statement; its rows. All its columns are of type text.
    ///
    /// # Errors
    /// The server's.
    fn rows(&mut self, sql: &str, arguments: &[Argument<'_>]) -> Result<Vec<Row>, Self::Error>;

    /// Run one statement; how many rows it has written.
    ///
    /// # Errors
    /// The server's.
    fn execute(&mut self, sql: &str, arguments: &[Argument<'_>]) -> Result<u64, Self::Error>;

    /// Run statements without arguments, one after the other.
    ///
    /// # Errors
    /// The server's.
    fn run(&mut self, sql: &str) -> Result<(), Self::Error>;

    /// Set a savepoint, to which [`Session::roll_back`] returns.
    ///
    /// # Errors
    /// The server's.
    fn savepoint(&mut self) -> Result<(), Self::Error>;

    /// Keep what was done since the last savepoint, and forget the savepoint.
    ///
    /// # Errors
    /// The server's.
    fn release(&mut self) -> Result<(), Self::Error>;

    /// Undo what was done since the last savepoint, and forget the savepoint.
    ///
    /// # Errors
    /// The server's.
    fn roll_back(&mut self) -> Result<(), Self::Error>;

    /// Something that helps to find out what happened, if anybody wants to know.
    fn remark(&mut self, _what: &dyn Display) {}
}

/// What a session fails with.
pub trait Failure: From<Error> + Debug + Display {
    /// The server's code, when it was the server.
    fn sqlstate(&self) -> Option<&str>;

    /// Has the server answered so, and is the session as it was?
    fn is_answer(&self) -> bool;

    /// Is a single event at fault, and not the server, the connection or the settings?
    fn is_of_event(&self) -> bool;
}

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// A text.
    Text(Option<&'a str>),
    /// An array of texts.
    Texts(&'a [Option<&'a str>]),
}

impl<'a> From<&'a str> for Argument<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

/// A row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub Vec<Option<String>>);

impl Row {
    /// A column that may be null.
    ///
    /// # Errors
    /// [`Error::Answer`] when the row is too short.
    pub fn get(&self, column: usize) -> Result<Option<&str>, Error> {
        let value = self.0.get(column).map(Option::as_deref);
        value.ok_or_else(|| Error::Answer(format!("a row without column {}", column + 1)))
    }

    /// A column that is not null.
    ///
    /// # Errors
    /// [`Error::Answer`] when it is null or is not there.
    pub fn text(&self, column: usize) -> Result<&str, Error> {
        let null = || Error::Answer(format!("column {} is null", column + 1));
        self.get(column)?.ok_or_else(null)
    }

    /// A number that is not null.
    ///
    /// # Errors
    /// [`Error::Answer`] when it is null or none.
    pub fn number(&self, column: usize) -> Result<i64, Error> {
        let text = self.text(column)?;
        text.parse().map_err(|_| Error::Answer(format!("\"{text}\" is no number")))
    }

    /// A number that may be null.
    ///
    /// # Errors
    /// [`Error::Answer`] when it is none.
    pub fn number_or_null(&self, column: usize) -> Result<Option<i64>, Error> {
        self.get(column)?.map(|_| self.number(column)).transpose()
    }

    /// A boolean, as the server casts it to text.
    ///
    /// # Errors
    /// [`Error::Answer`] when it is none.
    pub fn flag(&self, column: usize) -> Result<bool, Error> {
        match self.text(column)? {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(Error::Answer(format!("\"{other}\" is no boolean"))),
        }
    }
}
