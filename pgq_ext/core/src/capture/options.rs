//! Arguments of a trigger: the queue, then options in any order.

/// A field of an event that an option or a magic column can replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `ev_type`
    Type,
    /// `ev_data`
    Data,
    /// `ev_extra1`
    Extra1,
    /// `ev_extra2`
    Extra2,
    /// `ev_extra3`
    Extra3,
    /// `ev_extra4`
    Extra4,
}

impl Field {
    /// Every field, in the order of `pgq.insert_event`'s arguments.
    pub const ALL: [Self; 6] =
        [Self::Type, Self::Data, Self::Extra1, Self::Extra2, Self::Extra3, Self::Extra4];

    /// The field with the given column name, `ev_type` to `ev_extra4`.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"ev_type" => Self::Type,
            b"ev_data" => Self::Data,
            b"ev_extra1" => Self::Extra1,
            b"ev_extra2" => Self::Extra2,
            b"ev_extra3" => Self::Extra3,
            b"ev_extra4" => Self::Extra4,
            _ => return None,
        })
    }
}

/// True for the name of a magic column, whose value goes into a field of the event instead of its
/// data.
pub fn is_magic(column: &[u8]) -> bool {
    column.starts_with(b"_pgq_ev_")
}

/// The field that a magic column sets; None for one that PgQ does not know.
pub fn magic_field(column: &[u8]) -> Option<Field> {
    column.strip_prefix(b"_pgq_").and_then(Field::from_name)
}

/// True for types of events that the nodes of a cascade obey: scripts, and what its tools say to
/// each other. A value in a row cannot make one.
pub fn is_command(event_type: &[u8]) -> bool {
    event_type == b"EXECUTE"
        || event_type.starts_with(b"londiste.")
        || event_type.starts_with(b"pgq.")
}

/// What the options of `logutriga`, `sqltriga` and `jsontriga` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `SKIP`: suppress the operation itself.
    pub skip: bool,
    /// `backup`: put the old row of an UPDATE into `ev_extra2`.
    pub backup: bool,
    /// `deny`: refuse every change.
    pub deny: bool,
    /// `ignore=`: columns to leave out. The last one given counts.
    pub ignore: Option<Vec<u8>>,
    /// `pkey=`: columns to take as the key. The last one given counts.
    pub key: Option<Vec<u8>>,
    /// `ev_…=` expressions in the order they are evaluated in. The first one given for a field
    /// counts.
    pub fields: Vec<(Field, Vec<u8>)>,
    /// `when=`: condition for an event. The first one given counts.
    pub when: Option<Vec<u8>>,
}

/// An argument that is no option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad param to pgq trigger")]
pub struct BadOption;

impl Options {
    /// Read the arguments after the queue's name.
    ///
    /// # Errors
    ///
    /// [`BadOption`] at the first argument that is none of the options.
    pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, BadOption> {
        let mut options = Self::default();
        for argument in arguments {
            options.add(argument)?;
        }
        options.fields.sort_by_key(|(field, _)| *field);
        Ok(options)
    }

    /// True when there is a `when=` or `ev_…=` expression.
    pub fn has_expressions(&self) -> bool {
        self.when.is_some() || !self.fields.is_empty()
    }

    fn add(&mut self, argument: &[u8]) -> Result<(), BadOption> {
        match argument {
            b"SKIP" => self.skip = true,
            b"backup" => self.backup = true,
            b"deny" => self.deny = true,
            _ => {
                let at = argument.iter().position(|&byte| byte == b'=').ok_or(BadOption)?;
                let (name, rest) = argument.split_at(at);
                self.set(name, &rest[1..])?;
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadOption> {
        match name {
            b"ignore" => self.ignore = Some(value.to_vec()),
            b"pkey" => self.key = Some(value.to_vec()),
            b"when" => {
                self.when.get_or_insert_with(|| value.to_vec());
            }
            _ => {
                let field = Field::from_name(name).ok_or(BadOption)?;
                if !self.fields.iter().any(|(given, _)| *given == field) {
                    self.fields.push((field, value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, BadOption> {
        Options::parse(arguments.iter().map(|text| text.as_bytes()))
    }

    #[test]
    fn options_come_in_any_order() {
        let options =
            parse(&["when=a=b", "ev_extra1=x", "backup", "ev_type=t", "pkey=", "SKIP"]).unwrap();
        assert!(options.skip && options.backup && !options.deny && options.has_expressions());
        assert_eq!(options.when.as_deref(), Some(&b"a=b"[..]));
        assert_eq!(options.key.as_deref(), Some(&b""[..]));
        assert_eq!(options.fields, [(Field::Type, b"t".to_vec()), (Field::Extra1, b"x".to_vec())]);
    }

    #[test]
    fn of_repeated_options_lists_take_the_last_and_expressions_the_first() {
        let options =
            parse(&["ignore=a", "ignore=b", "when=1", "when=2", "ev_data=1", "ev_data=2"]).unwrap();
        assert_eq!(options.ignore.as_deref(), Some(&b"b"[..]));
        assert_eq!(options.when.as_deref(), Some(&b"1"[..]));
        assert_eq!(options.fields, [(Field::Data, b"1".to_vec())]);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["", "skip", "Backup", "deny=1", "ev_extra5=1", "ev_id=1", "Ignore=a", "=x"] {
            assert_eq!(parse(&["backup", bad]), Err(BadOption), "{bad}");
        }
    }

    #[test]
    fn commands_are_known_as_workers_know_them() {
        assert!(is_command(b"EXECUTE") && is_command(b"pgq.") && is_command(b"londiste.x"));
        assert!(!is_command(b"execute") && !is_command(b"EXECUTE ") && !is_command(b"pgq"));
    }

    #[test]
    fn magic_columns_name_fields() {
        assert!(is_magic(b"_pgq_ev_foo") && !is_magic(b"_pgq_e"));
        assert_eq!(magic_field(b"_pgq_ev_extra4"), Some(Field::Extra4));
        assert_eq!(magic_field(b"_pgq_ev_foo"), None);
    }
}
