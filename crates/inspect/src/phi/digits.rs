//! Where runs of digits begin: eight bytes at a time, in plain arithmetic.

/// For 64 bytes one bit each, set where a digit is; the first byte is the lowest bit.
fn mask(block: &[u8; 64]) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut bits = 0;
    for (index, bytes) in block.chunks_exact(8).enumerate() {
        let mut word = [0; 8];
        word.copy_from_slice(bytes);
        // A digit xor '0' is 0 to 9; with 0x76 added only what is above 9 reaches the high bit.
        let value = u64::from_le_bytes(word) ^ 0x3030_3030_3030_3030;
        let other = (value & LOW).wrapping_add(0x7676_7676_7676_7676) | value;
        let digits = (!other & HIGH) >> 7;
        // One bit from each byte, the first lowest.
        bits |= (digits.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (index * 8);
    }
    bits
}

/// Calls `each` with the place of every digit in `text[from..to]` that no digit stands before.
pub(super) fn runs(text: &[u8], from: usize, to: usize, mut each: impl FnMut(usize)) {
    let mut before = u64::from(from.checked_sub(1).is_some_and(|p| text[p].is_ascii_digit()));
    let mut at = from;
    while at < to {
        let mut block = [0; 64];
        let len = (to - at).min(64);
        match text[at..].first_chunk::<64>() {
            Some(whole) if len == 64 => block = *whole,
            _ => block[..len].copy_from_slice(&text[at..at + len]),
        }
        let digits = mask(&block);
        let mut starts = digits & !(digits << 1 | before);
        before = digits >> 63;
        while starts != 0 {
            each(at + starts.trailing_zeros() as usize);
            starts &= starts - 1;
        }
        at += 64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_begin_where_they_begin(text in "([0-9]{0,70}[ -~é\u{80}-\u{ff}]{0,40}){0,5}", cut in 0usize..400) {
            let text = text.as_bytes();
            let mut found = Vec::new();
            let cut = cut.min(text.len());
            runs(text, 0, cut, |at| found.push(at));
            runs(text, cut, text.len(), |at| found.push(at));
            let expected: Vec<_> = (0..text.len())
                .filter(|&at| text[at].is_ascii_digit() && (at == 0 || !text[at - 1].is_ascii_digit()))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
