//! CityHash64 as ClickHouse computes it: version 1.0.2, which later ones do not equal.
//!
//! PostHog's store can hash and sum a month of identities where we could only read
//! them; the sum means something here because this is the same function. It is no
//! protection against somebody who wants two texts to have one hash.

const K0: u64 = 0xc3a5_c85c_97cb_3127;
const K1: u64 = 0xb492_b66f_be98_f273;
const K2: u64 = 0x9ae1_6a3b_2f90_404f;
const K3: u64 = 0xc949_d7c7_509e_6557;

/// The hash of a text.
pub(crate) fn hash64(text: &[u8]) -> u64 {
    match text.len() {
        0..=16 => up_to_16(text),
        17..=32 => up_to_32(text),
        33..=64 => up_to_64(text),
        _ => longer(text),
    }
}

/// Eight bytes from `at` on, the least first.
fn word(text: &[u8], at: usize) -> u64 {
    text[at..at + 8].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Four bytes from `at` on, the least first.
fn half(text: &[u8], at: usize) -> u64 {
    text[at..at + 4].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

fn shift_mix(value: u64) -> u64 {
    value ^ (value >> 47)
}

fn mix(u: u64, v: u64) -> u64 {
    const MUL: u64 = 0x9ddf_ea08_eb38_2d69;
    let a = shift_mix((u ^ v).wrapping_mul(MUL));
    shift_mix((v ^ a).wrapping_mul(MUL)).wrapping_mul(MUL)
}

fn up_to_16(text: &[u8]) -> u64 {
    let len = text.len();
    let size = len as u64;
    if len > 8 {
        let (a, b) = (word(text, 0), word(text, len - 8));
        return mix(a, b.wrapping_add(size).rotate_right(len as u32)) ^ b;
    }
    if len >= 4 {
        return mix(size.wrapping_add(half(text, 0) << 3), half(text, len - 4));
    }
    let (Some(&first), Some(&last)) = (text.first(), text.last()) else { return K2 };
    let y = u64::from(first) + (u64::from(text[len >> 1]) << 8);
    let z = size + (u64::from(last) << 2);
    shift_mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K3)).wrapping_mul(K2)
}

fn up_to_32(text: &[u8]) -> u64 {
    let len = text.len();
    let a = word(text, 0).wrapping_mul(K1);
    let b = word(text, 8);
    let c = word(text, len - 8).wrapping_mul(K2);
    let d = word(text, len - 16).wrapping_mul(K0);
    let u = a.wrapping_sub(b).rotate_right(43).wrapping_add(c.rotate_right(30)).wrapping_add(d);
    let v = a.wrapping_add((b ^ K3).rotate_right(20)).wrapping_sub(c).wrapping_add(len as u64);
    mix(u, v)
}

/// Two words out of 32 bytes from `at` on and two seeds.
fn weak(text: &[u8], at: usize, a: u64, b: u64) -> (u64, u64) {
    let [w, x, y, z] = [0, 8, 16, 24].map(|from| word(text, at + from));
    let a = a.wrapping_add(w);
    let b = b.wrapping_add(a).wrapping_add(z).rotate_right(21);
    let sum = a.wrapping_add(x).wrapping_add(y);
    (sum.wrapping_add(z), b.wrapping_add(sum.rotate_right(44)).wrapping_add(a))
}

/// Two words out of the 32 bytes whose last word is `z`.
fn fold(a: u64, z: u64, second: u64, third: u64) -> (u64, u64) {
    let (b, c) = (a.wrapping_add(z).rotate_right(52), a.rotate_right(37));
    let a = a.wrapping_add(second);
    let c = c.wrapping_add(a.rotate_right(7));
    let a = a.wrapping_add(third);
    (a.wrapping_add(z), b.wrapping_add(a.rotate_right(31)).wrapping_add(c))
}

fn up_to_64(text: &[u8]) -> u64 {
    let len = text.len();
    let seed = (len as u64).wrapping_add(word(text, len - 16)).wrapping_mul(K0);
    let first = word(text, 0).wrapping_add(seed);
    let (vf, vs) = fold(first, word(text, 24), word(text, 8), word(text, 16));
    let second = word(text, 16).wrapping_add(word(text, len - 32));
    let (wf, ws) = fold(second, word(text, len - 8), word(text, len - 24), word(text, len - 16));
    let v = vf.wrapping_add(ws).wrapping_mul(K2);
    let r = shift_mix(v.wrapping_add(wf.wrapping_add(vs).wrapping_mul(K0)));
    shift_mix(r.wrapping_mul(K0).wrapping_add(vs)).wrapping_mul(K2)
}

/// The end first, then 64 bytes at a time.
fn longer(text: &[u8]) -> u64 {
    let len = text.len();
    let mut x = word(text, 0);
    let mut y = word(text, len - 16) ^ K1;
    let mut z = word(text, len - 56) ^ K0;
    let mut v = weak(text, len - 64, len as u64, y);
    let mut w = weak(text, len - 32, (len as u64).wrapping_mul(K1), K0);
    z = z.wrapping_add(shift_mix(v.1).wrapping_mul(K1));
    x = z.wrapping_add(x).rotate_right(39).wrapping_mul(K1);
    y = y.rotate_right(33).wrapping_mul(K1);
    for at in (0..(len - 1) / 64).map(|nth| nth * 64) {
        let sum = x.wrapping_add(y).wrapping_add(v.0).wrapping_add(word(text, at + 16));
        x = sum.rotate_right(37).wrapping_mul(K1) ^ w.1;
        let sum = y.wrapping_add(v.1).wrapping_add(word(text, at + 48));
        y = sum.rotate_right(42).wrapping_mul(K1) ^ v.0;
        z = (z ^ w.0).rotate_right(33);
        v = weak(text, at, v.1.wrapping_mul(K1), x.wrapping_add(w.0));
        w = weak(text, at + 32, z.wrapping_add(w.1), y);
        std::mem::swap(&mut z, &mut x);
    }
    let u = mix(v.0, w.0).wrapping_add(shift_mix(y).wrapping_mul(K1)).wrapping_add(z);
    mix(u, mix(v.1, w.1).wrapping_add(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_clickhouse() {
        let digits = |times| "0123456789".repeat(times);
        for (text, expected) in [
            (String::new(), 11_160_318_154_034_397_263),
            ("a".into(), 2_603_192_927_274_642_682),
            ("abcd".into(), 17_823_623_939_509_273_229),
            ("hello world".into(), 12_386_028_635_079_221_413),
            ("x".repeat(20), 7_054_000_592_804_751_239),
            (digits(5), 5_284_419_906_854_507_883),
            (digits(7), 7_040_186_705_704_256_002),
            (digits(13), 10_604_293_455_041_432_054),
            (digits(12) + "01234567", 7_219_484_646_688_739_894),
            ("é".repeat(40), 17_223_122_230_733_244_876),
        ] {
            assert_eq!(hash64(text.as_bytes()), expected, "{text}");
        }
    }
}
