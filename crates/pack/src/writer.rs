//! Filling and closing a pack.

use drover_chunk::Decompressor;
use drover_crypt::{
    aead::{Cipher, Nonce, NonceCounter},
    commitment,
    domain::DomainKeys,
    random,
    seal::{self, ReaderPublic},
    secret::{Key, derive},
};
use drover_types::{ChunkId, ChunkKind, Compression, PackClass, PackId};

use crate::{
    PackError,
    layout::{
        DirectoryEntry, HEADER_LEN, PackHeader, PackIdentity, SESSION_SEAL_LEN, TAG_LEN,
        encode_directory, encode_trailer,
    },
    reader::{FrameReader, PackKey, frame_aad},
};

const SALT_CONTEXT: &str = "drover 2026-11 pack salt";
/// A thread is given at least this many bytes to seal.
const LEAST_SHARE: usize = 1 << 20;

/// A secret shared by the packs of one pass and class, sealed once to the reader. Each pack's key
/// is derived from it and the pack's own salt, so that each pack can be opened alone.
#[derive(Clone)]
pub struct Session {
    class: PackClass,
    epoch: u32,
    identity: PackIdentity,
    secret: Key,
    sealed: [u8; SESSION_SEAL_LEN],
}

impl Session {
    /// Draws a secret and seals it to `reader`.
    pub fn new(
        identity: PackIdentity,
        class: PackClass,
        epoch: u32,
        reader: &ReaderPublic,
    ) -> Self {
        let secret = Key::random();
        let info = PackHeader::session_info(class, epoch, &identity);
        let sealed = seal::seal(reader, &info, secret.as_bytes())
            .try_into()
            .expect("a sealed secret has a fixed length");
        Self { class, epoch, identity, secret, sealed }
    }

    /// The class of the packs it makes.
    pub fn class(&self) -> PackClass {
        self.class
    }
}

/// What is known of a pack once it is closed; with the store's acknowledgement, proof that its
/// chunks are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackReceipt {
    /// Its name.
    pub id: PackId,
    /// Its length in bytes.
    pub len: u64,
    /// Its header.
    pub header: PackHeader,
    /// Its frames, in the order they lie in it.
    pub entries: Vec<DirectoryEntry>,
}

/// A closed pack.
#[derive(Debug)]
pub struct SealedPack {
    /// What is known of it.
    pub receipt: PackReceipt,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

struct Pending {
    kind: ChunkKind,
    compression: Compression,
    id: ChunkId,
    start: usize,
    stored_len: u32,
    plain_len: u32,
}

/// A pack being filled. The bytes are those of the compressed chunks, in the order they came;
/// they are shuffled and sealed on closing.
#[derive(Default)]
pub struct PackBuilder {
    buffer: Vec<u8>,
    pending: Vec<Pending>,
}

impl PackBuilder {
    /// Fills `buffer`, which is emptied first and reused for its room.
    pub fn new(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { buffer, pending: Vec::new() }
    }

    /// Adds a chunk as the compressor left it.
    pub fn push(
        &mut self,
        kind: ChunkKind,
        id: ChunkId,
        plain_len: u32,
        compression: Compression,
        stored: &[u8],
    ) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(stored);
        let stored_len = stored.len() as u32;
        self.pending.push(Pending { kind, compression, id, start, stored_len, plain_len });
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.pending.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// About how long the closed pack will be, in bytes.
    pub fn len(&self) -> usize {
        HEADER_LEN + self.buffer.len() + self.pending.len() * (TAG_LEN + 42)
    }

    /// Takes the buffer back, for reuse.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Closes the pack into `out`, whose old content is lost and whose room is used again, and
    /// leaves the builder empty. `counter` is a number that this writer never uses twice, as far
    /// as its state tells: with the content's hash it keeps the key unique on a cloned machine or
    /// with a broken random generator.
    pub fn seal(
        &mut self,
        session: &Session,
        keys: &DomainKeys,
        counter: u64,
        sealer: &mut Sealer,
        mut out: Vec<u8>,
    ) -> Result<SealedPack, PackError> {
        shuffle(&mut self.pending);
        let mut entries = Vec::with_capacity(self.pending.len());
        let mut offset = HEADER_LEN;
        for frame in &self.pending {
            entries.push(DirectoryEntry {
                kind: frame.kind,
                compression: frame.compression,
                id: frame.id,
                offset: u32::try_from(offset).map_err(|_| PackError::Full)?,
                stored_len: frame.stored_len,
                plain_len: frame.plain_len,
            });
            offset += frame.stored_len as usize + TAG_LEN;
        }
        let frames_end = offset;
        let mut directory = encode_directory(&entries, frames_end);

        let content = blake3::hash(&directory);
        let salt = derive(
            SALT_CONTEXT,
            &[&random::array::<32>(), &counter.to_le_bytes(), content.as_bytes()],
        );
        let mut header = PackHeader {
            class: session.class,
            epoch: session.epoch,
            identity: session.identity,
            session: session.sealed,
            salt: *salt.as_bytes(),
            commitment: [0; 32],
        };
        let key = PackKey::raw(&header, &session.secret);
        header.commitment = commitment(&key);
        let header_bytes = header.encode();
        let header_hash = *blake3::hash(&header_bytes).as_bytes();

        let cipher = Cipher::new(&key);
        let mut nonces = NonceCounter::new();
        let mut next = || nonces.next().map_err(|_| PackError::Full);
        let directory_nonce = next()?;
        let tag = cipher.seal_in_place(directory_nonce, &header_hash, &mut directory);
        // Only what grows is filled with zeros; all of it is written over.
        out.resize(frames_end, 0);
        out[..HEADER_LEN].copy_from_slice(&header_bytes);
        let mut frames = Vec::with_capacity(entries.len());
        let mut rest = &mut out[HEADER_LEN..];
        for (index, (pending, entry)) in self.pending.iter().zip(&entries).enumerate() {
            let (room, after) = rest.split_at_mut(entry.stored_len as usize + TAG_LEN);
            rest = after;
            let stored = &self.buffer[pending.start..][..pending.stored_len as usize];
            frames.push(Frame { index: index as u32, nonce: next()?, entry, stored, room });
        }
        let reopened = match sealer.self_check {
            true => {
                Some(PackKey::with_session(PackHeader::decode(&header_bytes)?, &session.secret)?)
            }
            false => None,
        };
        sealer.frames(frames, &cipher, &header_hash, reopened.as_ref().map(|key| (key, keys)))?;
        self.buffer.clear();
        self.pending.clear();
        out.extend_from_slice(&directory);
        out.extend_from_slice(&tag);
        out.extend_from_slice(&encode_trailer((directory.len() + TAG_LEN) as u32));
        if let Some(key) = reopened
            && key.directory(&out)? != entries
        {
            return Err(PackError::Sealed { what: "the directory" });
        }
        let id = PackId(*blake3::hash(&out).as_bytes());
        let receipt = PackReceipt { id, len: out.len() as u64, header, entries };
        Ok(SealedPack { receipt, bytes: out })
    }
}

/// A frame about to be sealed, and where it will lie.
struct Frame<'p> {
    index: u32,
    nonce: Nonce,
    entry: &'p DirectoryEntry,
    stored: &'p [u8],
    room: &'p mut [u8],
}

/// Seals the frames of packs, one pack at a time, on several threads. Where it checks itself,
/// every frame is then opened again as a reader would, decompressed, hashed and compared with its
/// name.
///
/// The threads are started for each pack, and are not those of a shared pool: a thread of a pool
/// that waits takes up other work meanwhile, and that work may need the very lock under which
/// packs are sealed. To start one costs a thousandth of what it then does.
pub struct Sealer {
    self_check: bool,
    /// One for each thread; their buffers are used again.
    readers: Vec<FrameReader>,
}

impl Sealer {
    /// Sealing on at most `threads` threads.
    pub fn new(threads: usize, self_check: bool) -> Self {
        let readers = std::iter::repeat_with(|| FrameReader::new(Decompressor::new()));
        Self { self_check, readers: readers.take(threads.max(1)).collect() }
    }

    fn frames(
        &mut self,
        frames: Vec<Frame<'_>>,
        cipher: &Cipher,
        header_hash: &[u8; 32],
        check: Option<(&PackKey, &DomainKeys)>,
    ) -> Result<(), PackError> {
        let total: usize = frames.iter().map(|frame| frame.room.len()).sum();
        let share = total.div_ceil(self.readers.len()).max(LEAST_SHARE);
        let run = |frames: Vec<Frame<'_>>, reader: &mut FrameReader| {
            frames.into_iter().try_for_each(|frame| {
                let Frame { index, nonce, entry, stored, room } = frame;
                let (text, tag) = room.split_at_mut(stored.len());
                text.copy_from_slice(stored);
                let aad = frame_aad(header_hash, index, entry);
                tag.copy_from_slice(&cipher.seal_in_place(nonce, &aad, text));
                match check {
                    Some((key, keys)) => reader.open(key, keys, index, entry, room).map(|_| ()),
                    None => Ok(()),
                }
            })
        };
        std::thread::scope(|scope| {
            let mut frames = frames.into_iter().peekable();
            let mut threads = Vec::new();
            for reader in &mut self.readers {
                let (mut mine, mut bytes) = (Vec::new(), 0);
                while let Some(frame) = frames.next_if(|_| bytes < share) {
                    bytes += frame.room.len();
                    mine.push(frame);
                }
                if frames.peek().is_none() {
                    run(mine, reader)?;
                    break;
                }
                let run = &run;
                let work = move || run(mine, reader);
                let thread = std::thread::Builder::new().spawn_scoped(scope, work);
                threads.push(thread.map_err(PackError::Threads)?);
            }
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }
}

/// Fisher–Yates over a BLAKE3 stream from a random seed. The order only hides which frame came
/// first; the multiply-shift's bias of 2^-32 does not matter to that.
fn shuffle<T>(items: &mut [T]) {
    let mut stream = blake3::Hasher::new_keyed(&random::array()).finalize_xof();
    let mut word = [0; 8];
    for at in (1..items.len()).rev() {
        stream.fill(&mut word);
        let below = ((at as u128 + 1) * u128::from(u64::from_le_bytes(word))) >> 64;
        items.swap(at, below as usize);
    }
}
