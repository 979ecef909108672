//! Where content is cut.

use drover_chunk::{ChunkSizes, Chunker};

use crate::shared::domain;

/// Bytes as content. The chunks are the content, within their sizes, and the same when it
/// comes in parts.
pub fn run(data: &[u8]) -> bool {
    let sizes = ChunkSizes::new(256, 1024, 4096).unwrap();
    let chunker = Chunker::new(&domain().gear_table(), sizes);
    let (mut whole, mut rest) = (Vec::new(), data);
    while !rest.is_empty() {
        let len = chunker.cut(rest, true).unwrap();
        assert!((1..=sizes.max()).contains(&len) && (len >= sizes.min() || len == rest.len()));
        whole.push(len);
        rest = &rest[len..];
    }
    let (mut parts, mut start, mut end) = (Vec::new(), 0, 0);
    while start < data.len() {
        end = data.len().min(end + 1777);
        while let Some(len) = chunker.cut(&data[start..end], end == data.len()) {
            parts.push(len);
            start += len;
            if start == end {
                break;
            }
        }
    }
    assert_eq!(parts, whole);
    true
}

/// Content that repeats, and content that does not.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut noise = vec![0; 50_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    vec![vec![0; 30_000], noise]
}
