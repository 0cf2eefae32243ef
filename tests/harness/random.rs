//! Randomness that can be had again: the seed is printed, and `HOLDFAST_SEED` sets it.

/// A small generator (splitmix64), good enough to choose places in a file.
pub struct Random(u64);

impl Random {
    /// With a seed of this moment, or `$HOLDFAST_SEED`; a test that fails shows it.
    pub fn seeded() -> Self {
        let given = std::env::var("HOLDFAST_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let seed = given.unwrap_or_else(|| u64::try_from(now & u128::from(u64::MAX)).unwrap());
        println!("HOLDFAST_SEED={seed}");
        Self(seed)
    }

    /// The same numbers for the same seed.
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
