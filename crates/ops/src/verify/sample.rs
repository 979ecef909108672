//! What a sample of packs says of all of them.
//!
//! Packs are drawn without repetition. Of `of` packs, `damaged` of them damaged, a sample of `read`
//! misses every damaged one with the probability
//!
//! ```text
//! C(of − damaged, read) / C(of, read) = Π (of − read − i) / (of − i),  i from 0 to damaged − 1
//! ```
//!
//! which is the hypergeometric distribution at zero. Ateniese et al., "Provable Data Possession at
//! Untrusted Stores", CCS 2007, use the same formula for the same question. A sample
//! that was whole excludes, at a confidence of 99 %, every number of damaged packs of which it would
//! have missed all with a probability of at most 1 %. That is so for damage that does not know the
//! seed.

use drover_repo::certificate::Sample;

/// The chance of missing everything that is taken for impossible.
const DOUBT: f64 = 0.01;

/// With 99 % confidence, fewer packs than this are damaged, where `sample` was whole. At least 1, and
/// one more than were left unread where the sample is too small to exclude anything.
pub fn damaged_below(sample: &Sample) -> u64 {
    let unread = sample.of.saturating_sub(sample.packs);
    let mut missed = 1.0;
    for damaged in 0..unread {
        missed *= (unread - damaged) as f64 / (sample.of - damaged) as f64;
        if missed <= DOUBT {
            return damaged + 1;
        }
    }
    // More cannot be damaged than were not read.
    unread + 1
}

/// The same in a sentence.
pub fn confidence(sample: &Sample) -> String {
    let below = damaged_below(sample);
    let part = 100.0 * below as f64 / sample.of.max(1) as f64;
    // Rounded up: it claims no more than was found.
    let part = (part * 100.0).ceil() / 100.0;
    format!(
        "with 99 % confidence fewer than {part:.2} % of the packs that are there are damaged (fewer \
         than {below} of {})",
        sample.of
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn below(packs: u64, of: u64) -> u64 {
        damaged_below(&Sample { packs, of, seed: 0 })
    }

    /// C(of − damaged, read) / C(of, read), by counting every sample.
    fn missed(read: u32, of: u32, damaged: u32) -> f64 {
        let samples = (0u32..1 << of).filter(|sample| sample.count_ones() == read);
        let (mut all, mut missing) = (0, 0);
        for sample in samples {
            all += 1;
            missing += u32::from(sample & ((1 << damaged) - 1) == 0);
        }
        f64::from(missing) / f64::from(all)
    }

    #[test]
    fn it_is_what_counting_gives() {
        for of in 1..=14 {
            for read in 1..=of {
                let excluded = (1..=of).find(|&damaged| missed(read, of, damaged) <= DOUBT);
                let expected = excluded.map_or(u64::from(of - read) + 1, u64::from);
                assert_eq!(below(read.into(), of.into()), expected, "{read} of {of}");
            }
        }
    }

    /// The figure of the paper: 460 of 10,000 find damage to 1 % of them at 99 %.
    #[test]
    fn it_agrees_with_the_source() {
        assert!(below(460, 10_000) <= 100, "{}", below(460, 10_000));
        assert!(below(440, 10_000) > 100);
    }

    #[test]
    fn it_claims_no_more_than_was_read() {
        assert_eq!(below(0, 10), 11, "nothing was read");
        assert_eq!(below(10, 10), 1, "all were read: none is damaged");
        assert_eq!(below(9, 10), 2, "the one that is left may be");
        let said = confidence(&Sample { packs: 12, of: 240, seed: 1 });
        assert!(said.starts_with("with 99 % confidence fewer than "), "{said}");
        assert_eq!(
            confidence(&Sample { packs: 1, of: 3, seed: 1 }),
            "with 99 % confidence fewer than 100.00 % of the packs that are there are damaged (fewer \
             than 3 of 3)"
        );
    }

    proptest! {
        /// The rule of sampling with repetition, 1 − (1 − p)^n, is never the bolder one by more than
        /// the rounding to whole packs.
        #[test]
        fn it_is_within_the_simple_rule(of in 2u64..100_000, part in 0.001f64..0.999) {
            let read = ((of as f64 * part).ceil() as u64).clamp(1, of - 1);
            let exact = below(read, of);
            let simple = (of as f64 * (1.0 - DOUBT.powf(1.0 / read as f64))).ceil() as u64;
            prop_assert!(exact <= simple.max(1) + 1, "{} of {}: {} and {}", read, of, exact, simple);
            prop_assert!(exact <= of - read + 1);
            // More read never says less.
            prop_assert!(below(read + 1, of) <= exact);
        }
    }
}
