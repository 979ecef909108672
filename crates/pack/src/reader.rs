//! Opening packs and their frames.

use drover_chunk::Decompressor;
use drover_crypt::{
    aead::{Cipher, Nonce},
    domain::DomainKeys,
    seal::{self, ReaderSecret},
    secret::{Key, derive},
};
use drover_types::{Compression, FileHash, limits};

use crate::{
    PackError,
    layout::{
        DirectoryEntry, HEADER_LEN, PackHeader, TAG_LEN, TRAILER_LEN, decode_directory,
        decode_trailer,
    },
};

const KEY_CONTEXT: &str = "drover 2026-11 pack key";

/// What a frame is bound to: its pack, its place and everything the directory says of it.
pub(crate) fn frame_aad(header_hash: &[u8; 32], index: u32, entry: &DirectoryEntry) -> [u8; 74] {
    let mut aad = [0; 74];
    aad[..32].copy_from_slice(header_hash);
    aad[32..36].copy_from_slice(&index.to_le_bytes());
    aad[36] = entry.kind as u8;
    aad[37] = entry.compression as u8;
    aad[38..70].copy_from_slice(entry.id.as_bytes());
    aad[70..].copy_from_slice(&entry.plain_len.to_le_bytes());
    aad
}

/// The key of one pack, whose commitment was checked.
pub struct PackKey {
    header: PackHeader,
    header_hash: [u8; 32],
    cipher: Cipher,
}

impl PackKey {
    /// The key that `header` and the session's secret give; nothing is checked.
    pub(crate) fn raw(header: &PackHeader, session: &Key) -> Key {
        let encoded = header.encode();
        let bound = HEADER_LEN - 80; // everything before the salt
        derive(KEY_CONTEXT, &[session.as_bytes(), &header.salt, &encoded[..bound]])
    }

    /// Opens the session's seal. The result serves every pack with the same seal, class, epoch
    /// and identity.
    pub fn session(header: &PackHeader, reader: &ReaderSecret) -> Result<Key, PackError> {
        let info = PackHeader::session_info(header.class, header.epoch, &header.identity);
        let refused = PackError::Sealed { what: "the session seal" };
        let Ok(secret) = seal::open(reader, &info, &header.session) else { return Err(refused) };
        Key::from_slice(&secret).ok_or(refused)
    }

    /// The pack's key by the session's secret.
    pub fn with_session(header: PackHeader, session: &Key) -> Result<Self, PackError> {
        let key = Self::raw(&header, session);
        if !drover_crypt::commitment_matches(&key, &header.commitment) {
            return Err(PackError::Sealed { what: "the key commitment" });
        }
        let header_hash = *blake3::hash(&header.encode()).as_bytes();
        Ok(Self { header, header_hash, cipher: Cipher::new(&key) })
    }

    /// The pack's header.
    pub fn header(&self) -> &PackHeader {
        &self.header
    }

    /// The directory of the whole pack `pack`.
    pub fn directory(&self, pack: &[u8]) -> Result<Vec<DirectoryEntry>, PackError> {
        let len = read_directory_len(pack, pack.len() as u64)?;
        let start = pack.len() - TRAILER_LEN - len;
        self.directory_from(&pack[start..start + len], start as u64)
    }

    /// The directory from its sealed bytes, which begin at `start` of the pack.
    pub fn directory_from(
        &self,
        sealed: &[u8],
        start: u64,
    ) -> Result<Vec<DirectoryEntry>, PackError> {
        let refused = PackError::Sealed { what: "the directory" };
        let Some((ciphertext, tag)) = sealed.split_last_chunk::<TAG_LEN>() else {
            return Err(refused);
        };
        let mut plain = ciphertext.to_vec();
        let nonce = Nonce::from_counter(0);
        self.cipher
            .open_in_place(nonce, &self.header_hash, &mut plain, tag)
            .map_err(|_| refused)?;
        decode_directory(&plain, start as usize)
    }
}

/// The length of the sealed directory of a pack of `pack_len` bytes, from bytes that end where
/// the pack ends.
pub fn read_directory_len(end_of_pack: &[u8], pack_len: u64) -> Result<usize, PackError> {
    let at = end_of_pack.len().saturating_sub(TRAILER_LEN);
    decode_trailer(&end_of_pack[at..], pack_len)
}

/// Opens frames, with buffers of its own that are used again.
pub struct FrameReader {
    decompressor: Decompressor,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl FrameReader {
    /// With buffers that grow as frames need them.
    pub fn new(decompressor: Decompressor) -> Self {
        Self { decompressor, sealed: Vec::new(), plain: Vec::new() }
    }

    /// Opens frame number `index`, described by `entry`, from its bytes (tag included):
    /// authenticated, decompressed to exactly the length it names, hashed, and compared with its
    /// name. Returns the plaintext, valid until the next call, and its plain BLAKE3.
    pub fn open(
        &mut self,
        key: &PackKey,
        keys: &DomainKeys,
        index: u32,
        entry: &DirectoryEntry,
        sealed: &[u8],
    ) -> Result<(&[u8], FileHash), PackError> {
        let refused = |why| PackError::Frame { id: entry.id, why };
        let (ciphertext, tag) =
            sealed.split_last_chunk::<TAG_LEN>().ok_or(refused("is cut short"))?;
        let plain_len = entry.plain_len as usize;
        if ciphertext.len() != entry.stored_len as usize || plain_len > limits::CHUNK {
            return Err(refused("has not the length that the directory names"));
        }
        let aad = frame_aad(&key.header_hash, index, entry);
        let nonce = Nonce::from_counter(u64::from(index) + 1);
        let buffer = match entry.compression {
            Compression::None => &mut self.plain,
            Compression::Zstd => &mut self.sealed,
        };
        buffer.clear();
        buffer.extend_from_slice(ciphertext);
        key.cipher
            .open_in_place(nonce, &aad, buffer, tag)
            .map_err(|_| refused("does not open: it was changed, or belongs elsewhere"))?;
        if entry.compression == Compression::Zstd {
            self.decompressor
                .decompress(entry.compression, &self.sealed, plain_len, &mut self.plain)
                .map_err(|_| refused("does not decompress"))?;
        }
        if self.plain.len() != plain_len {
            return Err(refused("has not the length that the directory names"));
        }
        let hash = FileHash(*blake3::hash(&self.plain).as_bytes());
        if keys.chunk_id(entry.kind, hash.as_bytes()) != entry.id {
            return Err(refused("does not hash to its name"));
        }
        Ok((&self.plain, hash))
    }
}
