//! Is an UPDATE worth an event?

/// What a column means to a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Part of the key. May be left out of the data nevertheless.
    Key,
    /// Part of the data.
    Data,
    /// Neither: in `ignore=`, or a magic column.
    Ignored,
}

/// The key of a row was updated; a consumer could not find the row it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("primary key update not allowed")]
pub struct KeyChanged;

/// Collects which columns an UPDATE has changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    data: bool,
    ignored: bool,
}

impl Changes {
    /// Note a changed column.
    ///
    /// # Errors
    ///
    /// [`KeyChanged`] when it belongs to the key.
    pub fn note(&mut self, role: Role) -> Result<(), KeyChanged> {
        match role {
            Role::Key => return Err(KeyChanged),
            Role::Data => self.data = true,
            Role::Ignored => self.ignored = true,
        }
        Ok(())
    }

    /// True unless nothing but ignored columns has changed. An UPDATE that changes nothing at all
    /// counts.
    pub fn are_interesting(self) -> bool {
        self.data || !self.ignored
    }

    /// True when a column of the data has changed.
    pub fn has_data(self) -> bool {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_of_ignored_columns_alone_are_dull() {
        let mut changes = Changes::default();
        assert!(changes.are_interesting());
        changes.note(Role::Ignored).unwrap();
        assert!(!changes.are_interesting());
        changes.note(Role::Data).unwrap();
        assert!(changes.are_interesting() && changes.has_data());
        assert_eq!(changes.note(Role::Key), Err(KeyChanged));
    }
}
