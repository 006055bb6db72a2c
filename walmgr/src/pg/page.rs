//! Checksums of data pages, as PostgreSQL computes them.

/// Size of the pages whose checksums are known here.
pub(crate) const SIZE: usize = 8192;

const LANES: usize = 32;
const PRIME: u32 = 16_777_619;

/// Where each of the parallel FNV-1a sums begins.
const START: [u32; LANES] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// What looking at a page tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its checksum is right, or it is new and has none.
    Fine,
    /// Its checksum is wrong, and it claims to have been changed at this position, since the given
    /// one: WAL replaces it, if WAL goes so far.
    Recent(u64),
    /// Its checksum is wrong.
    Bad,
}

/// Check one page. `start` is the position from which WAL replay will rewrite pages anyway.
pub(crate) fn check(page: &[u8], block: u32, start: u64) -> Verdict {
    let Some(header) = page.get(..24) else { return Verdict::Fine };
    let half = |at: usize| {
        header.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
    };
    let word = |at: usize| {
        header.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
    };
    let lsn = u64::from(word(0)) << 32 | u64::from(word(4));
    let is_new = half(14) == 0;
    // A page that only looks new may have lost its header.
    if is_new {
        return if page.iter().all(|byte| *byte == 0) { Verdict::Fine } else { Verdict::Bad };
    }
    if checksum(page, block) == half(8) {
        Verdict::Fine
    } else if lsn >= start {
        Verdict::Recent(lsn)
    } else {
        Verdict::Bad
    }
}

fn checksum(page: &[u8], block: u32) -> u16 {
    let mut sums = START;
    for (row, bytes) in page.chunks_exact(LANES * 4).enumerate() {
        for (lane, (sum, word)) in sums.iter_mut().zip(bytes.chunks_exact(4)).enumerate() {
            let mut value = word.try_into().map_or(0, u32::from_le_bytes);
            if row == 0 && lane == 2 {
                value &= 0xFFFF_0000; // the checksum's own place counts as zero
            }
            *sum = mix(*sum, value);
        }
    }
    let folded = sums.iter().fold(0, |all, sum| all ^ mix(mix(*sum, 0), 0)) ^ block;
    u16::try_from(folded % 65_535 + 1).expect("a remainder is smaller than its divisor")
}

fn mix(sum: u32, value: u32) -> u32 {
    let mixed = sum ^ value;
    mixed.wrapping_mul(PRIME) ^ (mixed >> 17)
}

#[cfg(test)]
mod tests {
    use super::{SIZE, Verdict, check, checksum};

    fn page() -> Vec<u8> {
        let mut page: Vec<u8> = (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect();
        page[..8].copy_from_slice(&[0, 0, 0, 0, 0x50, 0, 0, 0]);
        let sum = checksum(&page, 7);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn a_flipped_bit_or_another_place_is_noticed() {
        let mut page = page();
        assert_eq!(check(&page, 7, 0x100), Verdict::Fine);
        assert_eq!(check(&page, 8, 0x100), Verdict::Bad);
        page[5000] ^= 1;
        assert_eq!(check(&page, 7, 0x100), Verdict::Bad);
        // Replay starts before its last change, so replay brings it again, if it gets there.
        assert_eq!(check(&page, 7, 0x40), Verdict::Recent(0x50));
    }

    #[test]
    fn new_pages_have_no_checksum() {
        assert_eq!(check(&vec![0; SIZE], 0, 1), Verdict::Fine);
        let mut lost_header = vec![0; SIZE];
        lost_header[100] = 1;
        assert_eq!(check(&lost_header, 0, 1), Verdict::Bad);
    }
}
