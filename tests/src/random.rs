//! Seeded randomness, so that a failed run can be repeated.

/// A small generator (splitmix64). The seed is `PGQ_SEED`, else the clock; a test prints it.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator for the named test; prints the seed, which cargo shows when the test fails.
    #[expect(clippy::print_stderr, reason = "the seed belongs in the report of a failed test")]
    pub fn for_test(name: &str) -> Self {
        let seed = std::env::var("PGQ_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| {
                std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .map_or(1, |since| u64::from(since.subsec_nanos()) + since.as_secs())
            });
        eprintln!("{name}: PGQ_SEED={seed}");
        Self(seed)
    }

    /// A generator with a seed of its own, derived from this one.
    pub fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
