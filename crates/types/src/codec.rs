//! The canonical binary encoding that every stored structure shares (`docs/format.md`, "Encoding").
//!
//! There is one encoding of each value: integers of fixed width are little-endian, variable ones
//! are LEB128 in their shortest form, byte strings carry their length. A reader refuses anything
//! else, so that equal values have equal bytes and equal hashes.

pub mod entry;

/// Why bytes do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the data ends too early")]
    Truncated,
    /// Bytes are left over.
    #[error("data is left over after the end")]
    Trailing,
    /// An integer is not in its shortest form or does not fit.
    #[error("an integer is not in its canonical form")]
    Integer,
    /// A length is over its bound.
    #[error("a length of {len} is over the bound of {bound}")]
    TooLong {
        /// What was named.
        len: u64,
        /// What is allowed.
        bound: u64,
    },
    /// A value is not one of those defined.
    #[error("{0}")]
    Invalid(&'static str),
}

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// An empty encoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on after what `buffer` holds.
    pub fn onto(buffer: Vec<u8>) -> Self {
        Self(buffer)
    }

    /// What was encoded.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// What was encoded so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Forgets what was encoded and keeps the room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// One to ten bytes, LEB128.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A signed integer: zigzag, then LEB128.
    pub fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Bytes as they are; their number is known to the reader.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A byte string: its length as a varint, then the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

/// Takes values from a slice, and never reads beyond it.
#[derive(Clone, Debug)]
pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses left-over bytes.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }

    /// `len` bytes as they are.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    /// An array of fixed length.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// LEB128 in its shortest form.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for at in 0..10 {
            let byte = self.u8()?;
            if at == 9 && byte > 1 {
                return Err(DecodeError::Integer);
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return if byte == 0 && at > 0 { Err(DecodeError::Integer) } else { Ok(value) };
            }
        }
        Err(DecodeError::Integer)
    }

    /// A varint that fits 32 bits.
    pub fn varint32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.varint()?).map_err(|_| DecodeError::Integer)
    }

    /// Zigzag LEB128.
    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A count or length, at most `bound`.
    pub fn length(&mut self, bound: usize) -> Result<usize, DecodeError> {
        let len = self.varint()?;
        if len > bound as u64 {
            return Err(DecodeError::TooLong { len, bound: bound as u64 });
        }
        Ok(len as usize)
    }

    /// A byte string of at most `bound` bytes.
    pub fn bytes(&mut self, bound: usize) -> Result<&'a [u8], DecodeError> {
        let len = self.length(bound)?;
        self.raw(len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_round_trip(u in any::<u64>(), i in any::<i64>(), s in any::<Vec<u8>>()) {
            let mut e = Encoder::new();
            e.varint(u);
            e.signed(i);
            e.bytes(&s);
            let bytes = e.finish();
            let mut d = Decoder::new(&bytes);
            prop_assert_eq!(d.varint(), Ok(u));
            prop_assert_eq!(d.signed(), Ok(i));
            prop_assert_eq!(d.bytes(usize::MAX), Ok(&s[..]));
            prop_assert_eq!(d.end(), Ok(()));
        }

        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut d = Decoder::new(&bytes);
            if let Ok(value) = d.varint() {
                let used = bytes.len() - d.rest().len();
                let mut e = Encoder::new();
                e.varint(value);
                prop_assert_eq!(&e.finish()[..], &bytes[..used]);
            }
        }
    }

    #[test]
    fn longer_forms_are_refused() {
        assert_eq!(Decoder::new(&[0x80, 0x00]).varint(), Err(DecodeError::Integer));
        assert_eq!(Decoder::new(&[0xff; 11]).varint(), Err(DecodeError::Integer));
        assert_eq!(Decoder::new(&[0x80]).varint(), Err(DecodeError::Truncated));
        assert!(Decoder::new(&[5, 1, 2]).bytes(4).is_err());
    }
}
