//! Chance that repeats: numbers and ids that depend on nothing but a seed.
//!
//! Everything the sandbox holds is a function of (seed, what it is, its number),
//! so a value can be made again when it is asked for instead of being kept.

/// A well mixed number out of a seed, a kind and a count (splitmix64).
pub(in crate::sandbox) fn mix(seed: u64, kind: u64, count: u64) -> u64 {
    let mut x = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(kind.wrapping_mul(0xD1B5_4A32_D192_ED03))
        .wrapping_add(count.wrapping_mul(0x8CB9_2BA7_2F3D_8DD7));
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A number below `bound`.
pub(in crate::sandbox) fn below(bound: u64, seed: u64, kind: u64, count: u64) -> u64 {
    mix(seed, kind, count) % bound.max(1)
}

/// A random (version 4) UUID, as its 128 bits.
pub(in crate::sandbox) fn uuid(seed: u64, kind: u64, count: u64) -> u128 {
    let high = mix(seed, kind, count);
    let low = mix(seed ^ 0xA5A5_A5A5, kind, count);
    let bits = (u128::from(high) << 64) | u128::from(low);
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().as_u128()
}

/// The text form of a UUID.
pub(in crate::sandbox) fn uuid_text(bits: u128) -> String {
    uuid::Uuid::from_u128(bits).to_string()
}

/// A 63-bit digest of a text (FNV-1a, then mixed).
pub(in crate::sandbox) fn digest(text: &[u8]) -> i64 {
    let hash = text.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    i64::try_from(mix(hash, 0, 0) >> 1).unwrap_or(0)
}
