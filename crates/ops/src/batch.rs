//! Batches of what workers do: many small things, or one large one.

/// The most things in a batch.
const ITEMS: usize = 256;
/// About how many bytes to read.
const BYTES: u64 = 4 << 20;

/// A batch that is being gathered.
pub(crate) struct Batch<T> {
    items: Vec<T>,
    bytes: u64,
}

impl<T> Batch<T> {
    pub(crate) fn new() -> Self {
        Self { items: Vec::with_capacity(ITEMS), bytes: 0 }
    }

    /// Takes something of which `bytes` are to be read; gives the batch before it where that is full.
    pub(crate) fn push(&mut self, item: T, bytes: u64) -> Option<Vec<T>> {
        let is_full = self.items.len() == ITEMS || self.bytes.saturating_add(bytes) > BYTES;
        let full = (is_full && !self.items.is_empty()).then(|| {
            self.bytes = 0;
            std::mem::replace(&mut self.items, Vec::with_capacity(ITEMS))
        });
        self.bytes = self.bytes.saturating_add(bytes);
        self.items.push(item);
        full
    }

    /// What is left at the end.
    pub(crate) fn rest(self) -> Option<Vec<T>> {
        (!self.items.is_empty()).then_some(self.items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_thing_is_a_batch_of_its_own() {
        let mut batch = Batch::new();
        let sizes = [1, BYTES - 1, 1, 9 * BYTES, 1, 1];
        let mut batches: Vec<_> = sizes.iter().filter_map(|&size| batch.push(size, size)).collect();
        batches.extend(batch.rest());
        assert_eq!(batches, [vec![1, BYTES - 1], vec![1], vec![9 * BYTES], vec![1, 1]]);
    }

    #[test]
    fn no_batch_has_too_many() {
        let mut batch = Batch::new();
        let full: Vec<_> = (0..2 * ITEMS).filter_map(|item| batch.push(item, 0)).collect();
        assert_eq!(full, [(0..ITEMS).collect::<Vec<_>>()]);
        assert_eq!(batch.rest().unwrap(), (ITEMS..2 * ITEMS).collect::<Vec<_>>());
        assert!(Batch::<u8>::new().rest().is_none());
    }
}
