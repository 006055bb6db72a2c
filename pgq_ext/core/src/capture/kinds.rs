//! The column-kind argument of `logtriga`: one letter per column.

use super::change::Role;

/// The kind string does not fit the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKinds {
    /// No `k` in it.
    #[error("need at least one key column")]
    NoKey,
    /// A `k` beyond the last column.
    #[error("key column does not exist")]
    NoSuchColumn,
}

/// Roles of a table's columns, of which there are `columns`: `k` is key, `i` is ignored, any other
/// letter is data. Columns beyond the string's end are ignored.
///
/// # Errors
///
/// [`BadKinds`] when there is no key, or a key beyond the last column.
pub fn parse(kinds: &[u8], columns: usize) -> Result<Vec<Role>, BadKinds> {
    let last_key = kinds.iter().rposition(|&kind| kind == b'k').ok_or(BadKinds::NoKey)?;
    if last_key >= columns {
        return Err(BadKinds::NoSuchColumn);
    }
    let role = |index| match kinds.get(index) {
        Some(b'k') => Role::Key,
        Some(b'i') | None => Role::Ignored,
        Some(_) => Role::Data,
    };
    Ok((0..columns).map(role).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_give_roles() {
        let roles = parse(b"kvi", 5).unwrap();
        assert_eq!(roles, [Role::Key, Role::Data, Role::Ignored, Role::Ignored, Role::Ignored]);
        assert_eq!(parse(b"vKk", 3).unwrap()[1], Role::Data);
    }

    #[test]
    fn the_key_must_exist() {
        assert_eq!(parse(b"", 3), Err(BadKinds::NoKey));
        assert_eq!(parse(b"vv", 3), Err(BadKinds::NoKey));
        assert_eq!(parse(b"kvk", 2), Err(BadKinds::NoSuchColumn));
        assert!(parse(b"kvv", 1).is_ok());
    }
}
