//! Which slot a message belongs to: the one of its key, or, without a key, one after the other.
//!
//! Positions of slots are kept between sessions, servers and releases, so what is here must give
//! the same for ever: a key that moved to another slot in the middle of a batch would be lost or
//! come twice. It depends on the key's bytes alone, in the encoding of the database.

/// What decides on the slot: messages of one key have the same. The id stands for those without.
pub fn spread(id: i64, key: Option<&[u8]>) -> u32 {
    // Their low bits follow each other, so they go round all slots.
    let Some(key) = key else { return low_half(id.cast_unsigned()) };
    // FNV-1a, and the last steps of MurmurHash3, without which its low bits are poor.
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    low_half(hash ^ (hash >> 33))
}

fn low_half(wide: u64) -> u32 {
    u32::try_from(wide & u64::from(u32::MAX)).expect("the mask leaves 32 bits")
}

/// One of the slots of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySlot {
    count: u32,
    number: u32,
}

impl KeySlot {
    /// Slot `number` of `count`, counted from 0; None if there is no such slot.
    pub fn new(count: i32, number: i32) -> Option<Self> {
        let (count, number) = (u32::try_from(count).ok()?, u32::try_from(number).ok()?);
        (number < count).then_some(Self { count, number })
    }

    /// True if it is the only one, which has everything.
    pub fn is_whole(self) -> bool {
        self.count == 1
    }

    /// The one, of so many, that what is `spread` so belongs to; None if there are none.
    pub fn of(count: i32, spread: u32) -> Option<Self> {
        let number = spread.checked_rem(u32::try_from(count).ok()?)?;
        Self::new(count, number.cast_signed())
    }

    /// Of how many.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Which, from 0.
    pub fn number(self) -> u32 {
        self.number
    }

    /// True if what is `spread` so belongs to it.
    pub fn has(self, spread: u32) -> bool {
        spread % self.count == self.number
    }
}

#[cfg(test)]
mod tests {
    use super::{KeySlot, spread};

    #[test]
    fn what_was_decided_once_stays() {
        assert_eq!(spread(1, Some(b"")), 3_130_599_718);
        assert_eq!(spread(2, Some(b"customer 4")), 1_174_368_737);
        assert_eq!(spread(7, None), 7);
        assert_eq!(spread(-1, None), u32::MAX);
    }

    #[test]
    fn a_message_belongs_to_one_slot() {
        for count in [1, 2, 3, 16, 1000] {
            for id in 0..500_i64 {
                let key = format!("key {}", id / 3);
                let spread = spread(id, (id % 5 != 0).then_some(key.as_bytes()));
                let owners: Vec<_> = (0..count)
                    .filter_map(|number| KeySlot::new(count, number))
                    .filter(|slot| slot.has(spread))
                    .collect();
                assert_eq!(owners, [KeySlot::of(count, spread).unwrap()]);
            }
        }
    }

    #[test]
    fn all_slots_get_their_part() {
        for count in [2_usize, 7, 16, 64] {
            for has_key in [true, false] {
                let mut parts = vec![0_usize; count];
                for id in 0..64_000_i64 {
                    let key = format!("customer {id}");
                    let spread = spread(id, has_key.then_some(key.as_bytes()));
                    let slot = KeySlot::of(i32::try_from(count).unwrap(), spread).unwrap();
                    parts[usize::try_from(slot.number()).unwrap()] += 1;
                }
                let even = 64_000 / count;
                let is_even = |part: &usize| (even * 8 / 10..=even * 12 / 10).contains(part);
                assert!(parts.iter().all(is_even), "keys {has_key}: {parts:?}");
            }
        }
    }

    #[test]
    fn there_are_no_strange_slots() {
        for (count, number) in [(0, 0), (-1, 0), (4, 4), (4, -1)] {
            assert_eq!(KeySlot::new(count, number), None);
        }
        assert_eq!((KeySlot::of(0, 1), KeySlot::of(-1, 1)), (None, None));
        assert!(KeySlot::new(1, 0).is_some_and(KeySlot::is_whole));
    }
}
