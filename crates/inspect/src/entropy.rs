//! How random bytes look: what is left to judge by where a format is not known.

/// What a sample of bytes says about itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entropy {
    /// Shannon's entropy of single bytes, in bits per byte, 0 to 8.
    pub bits: f32,
    /// Whether the bytes cannot be told from evenly drawn ones: encrypted, or packed very well.
    pub random: bool,
}

/// Fewer bytes than this say nothing.
const LEAST: usize = 1024;

/// Of a sample; `None` where it is below 1024 bytes.
///
/// `random` is Pearson's χ² of the 256 counts against evenly drawn ones: with 255 degrees of freedom
/// 255 ± 22.6 is expected, and 400 is exceeded by chance once in 10⁸. DEFLATE, JPEG and video exceed
/// it within a few kilobytes; ciphertext does not.
pub fn entropy(sample: &[u8]) -> Option<Entropy> {
    if sample.len() < LEAST {
        return None;
    }
    // Four tables, so that one byte's count does not wait for the last one's.
    let mut counts = [[0u32; 256]; 4];
    let mut quads = sample.chunks_exact(4);
    for quad in &mut quads {
        for (table, &byte) in counts.iter_mut().zip(quad) {
            table[usize::from(byte)] += 1;
        }
    }
    for &byte in quads.remainder() {
        counts[0][usize::from(byte)] += 1;
    }
    let total = sample.len() as f64;
    let expected = total / 256.0;
    let (mut bits, mut chi) = (0.0, 0.0);
    for value in 0..256 {
        let count = f64::from(counts.iter().map(|table| table[value]).sum::<u32>());
        if count > 0.0 {
            bits -= count / total * (count / total).log2();
        }
        chi += (count - expected).powi(2) / expected;
    }
    Some(Entropy { bits: bits as f32, random: chi < 400.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_is_told_from_packed_and_plain() {
        let mut drawn = [0; 8192];
        blake3::Hasher::new().finalize_xof().fill(&mut drawn);
        let random = entropy(&drawn).unwrap();
        assert!(random.random && random.bits > 7.9, "{random:?}");
        let text = b"the patient was seen in the clinic on monday ".repeat(200);
        assert!(entropy(&text).unwrap().bits < 4.5);
        assert!(!entropy(&text).unwrap().random);
        let words: Vec<u8> =
            (0..40_000u32).flat_map(|n| format!("{} ", n * n).into_bytes()).collect();
        let mut packed = Vec::new();
        let mut encoder =
            flate2::read::DeflateEncoder::new(&words[..], flate2::Compression::new(6));
        std::io::Read::read_to_end(&mut encoder, &mut packed).unwrap();
        assert!(!entropy(&packed).unwrap().random);
        assert_eq!(entropy(b"short"), None);
    }
}
