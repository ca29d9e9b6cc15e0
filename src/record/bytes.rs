//! Looking for bytes many at a time.
//!
//! What is looked for in JSON is near, too near for a search to pay that must first be set up,
//! and JSON inside of JSON has an escape every ten bytes. So sixteen bytes are compared
//! at once, and where that is worth it the places in 64 bytes become the bits of a number.
//! The one home of `wide`.

use wide::u8x16;

/// So many bytes become the bits of one number.
pub(crate) const BLOCK: usize = 64;

/// Bytes that are compared at once.
const WIDTH: usize = 16;

/// The offset, from `at` on, of the first byte that is one of these two; else where the bytes end.
#[inline]
pub(crate) fn find(either: [u8; 2], bytes: &[u8], mut at: usize) -> usize {
    let [one, other] = either.map(u8x16::splat);
    while let Some((some, _)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk) {
        let some = u8x16::new(*some);
        let found = (some.simd_eq(one) | some.simd_eq(other)).to_bitmask();
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += WIDTH;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| either.contains(byte)).unwrap_or(rest.len())
}

/// Moves `pos` behind the quote that closes the string it stands in, and returns the offset
/// of that quote; where the bytes end first, `pos` is where to go on.
pub(crate) fn closing_quote(bytes: &[u8], pos: &mut usize) -> Option<usize> {
    let mut at = find(*b"\"\\", bytes, *pos);
    if bytes.get(at) == Some(&b'\\') {
        // Where one escape is, many are.
        while let Some((block, _)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk) {
            let mut is_next = false;
            let escaped = escaped(which(block, b'\\'), &mut is_next);
            let quotes = which(block, b'"') & !escaped;
            if quotes != 0 {
                at += quotes.trailing_zeros() as usize;
                *pos = at + 1;
                return Some(at);
            }
            at += BLOCK + usize::from(is_next);
        }
        at = find(*b"\"\\", bytes, at);
    }
    while bytes.get(at) == Some(&b'\\') {
        at = find(*b"\"\\", bytes, at + 2);
    }
    let is_closed = at < bytes.len();
    *pos = at + usize::from(is_closed);
    is_closed.then_some(at)
}

/// Whether one of the bytes is this one.
pub(crate) fn has(byte: u8, bytes: &[u8]) -> bool {
    // Without an early end, so that the compiler compares many at once.
    bytes.iter().fold(false, |found, other| found | (*other == byte))
}

/// Whether none of the bytes is a backslash or a control character.
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    let is_odd = |byte: &u8| (*byte == b'\\') | byte.is_ascii_control();
    // Without an early end, as above.
    !bytes.iter().fold(false, |found, byte| found | is_odd(byte))
}

/// Which of the bytes of a block are this one, as bits.
#[inline]
pub(crate) fn which(block: &[u8; BLOCK], byte: u8) -> u64 {
    let byte = u8x16::splat(byte);
    bits(block, |some| some.simd_eq(byte))
}

/// Which of the bytes of a block a condition marks, as bits.
#[inline]
fn bits(block: &[u8; BLOCK], marks: impl Fn(u8x16) -> u8x16) -> u64 {
    let (quarters, _) = block.as_chunks::<WIDTH>();
    let quarters = quarters.iter().enumerate();
    quarters.fold(0, |bits, (nth, some)| {
        bits | u64::from(marks(u8x16::new(*some)).to_bitmask()) << (nth * WIDTH)
    })
}

/// What of a block matters to JSON, as bits.
pub(crate) struct Marks {
    pub(crate) quotes: u64,
    pub(crate) backslashes: u64,
    /// `{`, `}`, `[`, `]`, `:` and `,`.
    pub(crate) signs: u64,
    pub(crate) spaces: u64,
    /// Bytes below the space.
    pub(crate) controls: u64,
}

impl Marks {
    #[inline]
    pub(crate) fn of(block: &[u8; BLOCK]) -> Self {
        let is = |some: u8x16, byte: u8| some.simd_eq(u8x16::splat(byte));
        let is_sign = |some: u8x16| {
            // This bit alone tells `[` from `{` and `]` from `}`.
            let brace = some | u8x16::splat(0x20);
            is(brace, b'{') | is(brace, b'}') | is(some, b':') | is(some, b',')
        };
        Self {
            quotes: which(block, b'"'),
            backslashes: which(block, b'\\'),
            signs: bits(block, is_sign),
            spaces: which(block, b' '),
            controls: bits(block, |some| some.min(u8x16::splat(b' ' - 1)).simd_eq(some)),
        }
    }
}

/// Of each bit whether an odd number of bits is set up to it.
#[inline]
pub(crate) fn running_parity(bits: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].into_iter().fold(bits, |bits, by| bits ^ bits << by)
}

/// Which bytes of a block a backslash before them escapes, given its backslashes; whether the
/// first one is, and then whether the first one behind the block is.
///
/// In a run of backslashes every other one escapes the next byte. Runs are told apart by where
/// they begin: a borrow ripples through each of them, and its parity remains (as in simdjson).
#[inline]
pub(crate) fn escaped(backslashes: u64, is_first: &mut bool) -> u64 {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    let first = u64::from(*is_first);
    let begins = backslashes & !first;
    let ends = ((begins << 1 | ODD).wrapping_sub(begins)) ^ ODD;
    *is_first = (ends & backslashes) >> (BLOCK - 1) == 1;
    ends ^ (backslashes | first)
}

/// The bytes in blocks with their offsets; the last one is filled up.
pub(crate) fn blocks(bytes: &[u8], filler: u8) -> impl Iterator<Item = (usize, [u8; BLOCK])> {
    bytes.chunks(BLOCK).enumerate().map(move |(nth, some)| {
        let block = some.try_into().unwrap_or_else(|_| {
            let mut block = [filler; BLOCK];
            block[..some.len()].copy_from_slice(some);
            block
        });
        (nth * BLOCK, block)
    })
}

/// The offsets of the backslashes that begin an escape.
pub(crate) fn escapes(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut is_first = false;
    offsets(bytes, move |block| {
        let backslashes = which(block, b'\\');
        backslashes & !escaped(backslashes, &mut is_first)
    })
}

/// The offsets of a byte that is not 0.
fn places(byte: u8, bytes: &[u8]) -> impl Iterator<Item = usize> {
    offsets(bytes, move |block| which(block, byte))
}

/// The offsets of each `e` and `E` behind a digit, and of some others.
pub(crate) fn exponents(bytes: &[u8]) -> impl Iterator<Item = usize> {
    offsets(bytes, |block| {
        let letters = bits(block, |some| (some | u8x16::splat(0x20)).simd_eq(u8x16::splat(b'e')));
        let digits = bits(block, |some| {
            let (least, most) = (u8x16::splat(b'0'), u8x16::splat(b'9'));
            some.max(least).min(most).simd_eq(some)
        });
        // What is before the block is not looked at.
        letters & (digits << 1 | 1)
    })
}

/// The offsets of what is marked in each block.
fn offsets(
    bytes: &[u8],
    mut marks: impl FnMut(&[u8; BLOCK]) -> u64,
) -> impl Iterator<Item = usize> {
    blocks(bytes, 0).flat_map(move |(base, block)| ones(marks(&block)).map(move |nth| base + nth))
}

/// Which bits are set.
#[inline]
pub(crate) fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let nth = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (nth < BLOCK).then_some(nth)
    })
}

/// Appends what stands between two offsets.
///
/// Sixteen bytes at a time, though some are too many: most of what is copied is shorter.
#[inline]
pub(crate) fn append(out: &mut Vec<u8>, bytes: &[u8], mut from: usize, to: usize) {
    while let Some((some, _)) = bytes.get(from..).and_then(<[u8]>::split_first_chunk::<WIDTH>) {
        out.extend_from_slice(some);
        from += WIDTH;
        if from >= to {
            out.truncate(out.len() - (from - to));
            return;
        }
    }
    out.extend_from_slice(bytes.get(from..to).unwrap_or_default());
}

/// Appends bytes, with this one twice wherever it stands.
pub(crate) fn append_doubling(byte: u8, bytes: &[u8], out: &mut Vec<u8>) {
    let mut done = 0;
    places(byte, bytes).for_each(|at| {
        append(out, bytes, done, at + 1);
        done = at;
    });
    append(out, bytes, done, bytes.len());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes with many quotes and backslashes.
    fn escaped_bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            &b"\\"[..],
            b"\\\\",
            b"\\\"",
            b"\"",
            b"a",
            b"some bytes without any of them",
            b"\0",
        ]);
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    /// The offsets of backslashes that begin an escape, one byte after the other.
    fn plain_escapes(bytes: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] == b'\\' {
                found.push(at);
                at += 1;
            }
            at += 1;
        }
        found
    }

    proptest! {
        #[test]
        fn what_is_near_is_found_from_any_place(bytes in escaped_bytes(), from in 0_usize..300) {
            let rest = bytes.get(from..).unwrap_or_default();
            let place = rest.iter().position(|byte| b"\"\\".contains(byte));
            prop_assert_eq!(find(*b"\"\\", &bytes, from), from + place.unwrap_or(rest.len()));
        }

        #[test]
        fn escapes_are_told_from_what_they_escape(bytes in escaped_bytes()) {
            let escapes: Vec<usize> = escapes(&bytes).collect();
            prop_assert_eq!(&escapes, &plain_escapes(&bytes));

            let quotes: Vec<usize> = places(b'"', &bytes).collect();
            let expected = (0..bytes.len()).filter(|at| bytes[*at] == b'"');
            prop_assert_eq!(&quotes, &expected.collect::<Vec<_>>());

            let mut doubled = Vec::new();
            append_doubling(b'"', &bytes, &mut doubled);
            let expected = String::from_utf8(bytes.clone()).unwrap().replace('"', "\"\"");
            prop_assert_eq!(String::from_utf8(doubled).unwrap(), expected);

            let closes = |at: &usize| at.checked_sub(1).is_none_or(|at| !escapes.contains(&at));
            let quote = quotes.into_iter().find(closes);
            let mut pos = 0;
            prop_assert_eq!(closing_quote(&bytes, &mut pos), quote);
            match quote {
                Some(quote) => prop_assert_eq!(pos, quote + 1),
                // An escape that is not over yet ends behind the bytes.
                None => {
                    let is_open = escapes.last().is_some_and(|at| at + 1 == bytes.len());
                    prop_assert_eq!(pos, bytes.len() + usize::from(is_open));
                }
            }
        }

        #[test]
        fn what_is_appended_is_what_stands_there(
            bytes in escaped_bytes(),
            from in 0_usize..300,
            len in 0_usize..100,
        ) {
            let from = from.min(bytes.len());
            let to = (from + len).min(bytes.len());
            let mut out = b"before".to_vec();
            append(&mut out, &bytes, from, to);
            prop_assert_eq!(out.strip_prefix(b"before").unwrap(), &bytes[from..to]);
        }
    }
}
