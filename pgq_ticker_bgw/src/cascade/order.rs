//! What a process of replication is told when it is started.

/// For whom it works. What else it needs it reads in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// The database.
    pub(super) database: u32,
    /// The role whose session it is.
    pub(super) role: u32,
    /// The process that has started it.
    pub(super) parent: i32,
    /// Of the row in londiste.worker.
    pub(super) number: i32,
}

impl Order {
    /// The order as bytes.
    pub(super) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let parts = [
            self.database.to_ne_bytes(),
            self.role.to_ne_bytes(),
            self.parent.to_ne_bytes(),
            self.number.to_ne_bytes(),
        ];
        for (place, part) in bytes.chunks_exact_mut(4).zip(parts) {
            place.copy_from_slice(&part);
        }
        bytes
    }

    /// The order that these bytes are.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let mut parts = bytes.chunks_exact(4).filter_map(|part| <[u8; 4]>::try_from(part).ok());
        Some(Self {
            database: u32::from_ne_bytes(parts.next()?),
            role: u32::from_ne_bytes(parts.next()?),
            parent: i32::from_ne_bytes(parts.next()?),
            number: i32::from_ne_bytes(parts.next()?),
        })
    }
}
