//! A writer whose keys are good and who means harm: signs whatever it likes.

use drover_crypt::{domain::DomainKeys, merkle};
use drover_ops::WriterSession;
use drover_pack::{PackBuilder, PackIdentity, Sealer, Session};
use drover_repo::{
    index,
    manifest::ManifestRoot,
    names,
    snapshot::{self, Details, Snapshot},
    state::Head,
};
use drover_types::{
    ChunkId, ChunkKind, ChunkRef, Compression, Extent, PackClass, SnapshotId, Timestamp, clock,
    codec::Encoder,
};

use super::common::World;

/// An entry as it will be encoded, with values that no honest writer has.
#[derive(Clone)]
pub struct Raw {
    pub version: u8,
    pub kind: u8,
    pub path: Vec<u8>,
    pub mode: u64,
    pub uid: u64,
    pub gid: u64,
    pub user: Vec<u8>,
    pub mtime: (i64, u64),
    pub flags: u64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What stands for the number of extended attributes.
    pub xattr_count: Option<u64>,
    pub target: Vec<u8>,
    pub device: (u64, u64),
    pub size: u64,
    pub hash: [u8; 32],
    pub hard_link: Vec<u8>,
    pub side_flags: u8,
    pub links: u64,
    pub form: Form,
    pub trailing: Vec<u8>,
}

/// Where the content is said to be.
#[derive(Clone)]
pub enum Form {
    None,
    Inline(Vec<Extent>),
    /// This many extents, and none of them.
    InlineCount(u64),
    Lists(u8, Vec<ChunkRef>),
    One,
    Other(u8),
}

fn raw(kind: u8, path: impl AsRef<[u8]>) -> Raw {
    Raw {
        version: 1,
        kind,
        path: path.as_ref().to_vec(),
        mode: if kind == 0 { 0o755 } else { 0o644 },
        uid: rustix::process::geteuid().as_raw().into(),
        gid: rustix::process::getegid().as_raw().into(),
        user: Vec::new(),
        mtime: (1_500_000_000, 0),
        flags: 0,
        xattrs: Vec::new(),
        xattr_count: None,
        target: Vec::new(),
        device: (0, 0),
        size: 0,
        hash: *blake3::hash(b"").as_bytes(),
        hard_link: Vec::new(),
        side_flags: 0,
        links: 1,
        form: if kind == 1 { Form::Inline(Vec::new()) } else { Form::None },
        trailing: Vec::new(),
    }
}

/// A directory.
pub fn dir(path: impl AsRef<[u8]>) -> Raw {
    raw(0, path)
}

/// An empty file.
pub fn file(path: impl AsRef<[u8]>) -> Raw {
    raw(1, path)
}

/// A symlink.
pub fn link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Raw {
    Raw { target: target.as_ref().to_vec(), mode: 0o777, ..raw(2, path) }
}

/// A FIFO (3), socket (4), character (5) or block device (6).
pub fn other(kind: u8, path: impl AsRef<[u8]>, device: (u64, u64)) -> Raw {
    Raw { device, ..raw(kind, path) }
}

/// A further name of the file at `first`.
pub fn name_of(path: impl AsRef<[u8]>, first: impl AsRef<[u8]>) -> Raw {
    Raw { hard_link: first.as_ref().to_vec(), links: 2, ..file(path) }
}

impl Raw {
    fn leaf(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.u8(self.version);
        e.u8(self.kind);
        e.bytes(&self.path);
        e.varint(self.mode);
        e.varint(self.uid);
        e.varint(self.gid);
        e.bytes(&self.user);
        e.bytes(b"");
        e.signed(self.mtime.0);
        e.varint(self.mtime.1);
        e.varint(self.flags);
        e.varint(self.xattr_count.unwrap_or(self.xattrs.len() as u64));
        for (name, value) in &self.xattrs {
            e.bytes(name);
            e.bytes(value);
        }
        match self.kind {
            1 => {
                e.varint(self.size);
                e.raw(&self.hash);
            }
            2 => e.bytes(&self.target),
            5 | 6 => {
                e.varint(self.device.0);
                e.varint(self.device.1);
            }
            _ => {}
        }
        e.bytes(&self.hard_link);
        e.raw(&self.trailing);
        e.finish()
    }

    fn side(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.u8(self.side_flags);
        e.varint(0);
        e.varint(0);
        e.varint(self.links);
        e.varint(self.size);
        e.varint(self.size);
        match &self.form {
            Form::None => e.u8(0),
            Form::Inline(extents) => {
                e.u8(1);
                e.varint(extents.len() as u64);
                extents.iter().for_each(|extent| encode_extent(extent, &mut e));
            }
            Form::InlineCount(count) => {
                e.u8(1);
                e.varint(*count);
            }
            Form::Lists(level, lists) => {
                e.u8(2);
                e.u8(*level);
                e.varint(lists.len() as u64);
                lists.iter().for_each(|list| encode_chunk(list, &mut e));
            }
            Form::One => e.u8(3),
            Form::Other(code) => e.u8(*code),
        }
        e.finish()
    }
}

fn encode_chunk(chunk: &ChunkRef, e: &mut Encoder) {
    e.raw(chunk.id.as_bytes());
    e.varint(chunk.len.into());
}

fn encode_extent(extent: &Extent, e: &mut Encoder) {
    match extent {
        Extent::Chunk(chunk) => {
            e.u8(0);
            encode_chunk(chunk, e);
        }
        Extent::Hole(len) => {
            e.u8(1);
            e.varint(*len);
        }
    }
}

/// What a whole manifest lies about.
#[derive(Clone, Copy, Default)]
pub struct Lies {
    /// Number of entries, as its list says of a block.
    pub block_entries: Option<u64>,
    /// Number of blocks, as a list says of itself.
    pub blocks: Option<u64>,
    /// Number of lists, as the root says of itself.
    pub lists: Option<u64>,
    /// Number of entries, as the snapshot says.
    pub entries: Option<u64>,
    /// The Merkle root of a block.
    pub block_root: bool,
    /// The Merkle root of the manifest.
    pub root: bool,
    /// What the snapshot says of entries, files and bytes in the open.
    pub totals: Option<u64>,
    /// Each entry is a block of its own.
    pub split: bool,
    /// The name of the block's chunk.
    pub block: Option<ChunkRef>,
}

/// The writer.
pub struct Rogue {
    session: WriterSession,
    keys: DomainKeys,
    packs: [PackBuilder; 2],
    pub lies: Lies,
}

impl Rogue {
    pub fn new(world: &World) -> Self {
        let session = world.session();
        let keys = session.credential.domain_keys();
        Self { session, keys, packs: Default::default(), lies: Lies::default() }
    }

    /// The honest name of a chunk.
    pub fn id(&self, kind: ChunkKind, plain: &[u8]) -> ChunkId {
        self.keys.chunk_id(kind, blake3::hash(plain).as_bytes())
    }

    /// Stores a chunk, compressed as it says or not.
    pub fn frame(&mut self, kind: ChunkKind, id: ChunkId, len: u32, zstd: bool, stored: &[u8]) {
        let compression = if zstd { Compression::Zstd } else { Compression::None };
        self.packs[kind.class() as usize].push(kind, id, len, compression, stored);
    }

    /// Stores a chunk as anyone would.
    pub fn chunk(&mut self, kind: ChunkKind, plain: &[u8]) -> ChunkRef {
        let chunk = ChunkRef { id: self.id(kind, plain), len: plain.len() as u32 };
        self.frame(kind, chunk.id, chunk.len, false, plain);
        chunk
    }

    /// The same, compressed if it is large: what repeats itself takes next to no room.
    pub fn dense(&mut self, kind: ChunkKind, plain: &[u8]) -> ChunkRef {
        if plain.len() < 4096 {
            return self.chunk(kind, plain);
        }
        let chunk = ChunkRef { id: self.id(kind, plain), len: plain.len() as u32 };
        let stored = zstd::bulk::compress(plain, 1).unwrap();
        self.frame(kind, chunk.id, chunk.len, true, &stored);
        chunk
    }

    /// A file with this content.
    pub fn content(&mut self, path: impl AsRef<[u8]>, content: &[u8]) -> Raw {
        let chunk = self.chunk(ChunkKind::Data, content);
        let (size, hash) = (content.len() as u64, *blake3::hash(content).as_bytes());
        Raw { size, hash, form: Form::Inline(vec![Extent::Chunk(chunk)]), ..file(path) }
    }

    /// A file whose content is these extents.
    pub fn extents(&mut self, path: impl AsRef<[u8]>, size: u64, extents: &[Extent]) -> Raw {
        Raw { size, hash: [0; 32], form: Form::Inline(extents.to_vec()), ..file(path) }
    }

    /// An extent list as a chunk.
    pub fn list(&mut self, extents: &[Extent]) -> ChunkRef {
        let mut e = Encoder::new();
        extents.iter().for_each(|extent| encode_extent(extent, &mut e));
        self.dense(ChunkKind::ExtentList, &e.finish())
    }

    fn manifest(&mut self, entries: &[Raw]) -> ManifestRoot {
        let lies = self.lies;
        let (mut list, mut roots) = (Encoder::new(), merkle::Frontier::new());
        let size = if lies.split { 1 } else { entries.len().max(1) };
        let blocks: Vec<_> = entries.chunks(size).collect();
        list.u8(1);
        list.u8(0);
        list.varint(lies.blocks.unwrap_or(blocks.len() as u64));
        for block in blocks {
            let (mut bytes, mut leaves) = (Encoder::new(), merkle::Frontier::new());
            bytes.u8(1);
            for entry in block {
                let leaf = entry.leaf();
                bytes.bytes(&leaf);
                bytes.bytes(&entry.side());
                leaves.push(merkle::leaf_hash(&self.keys.leaf_salt(&leaf), &leaf));
            }
            let chunk = self.dense(ChunkKind::ManifestBlock, bytes.as_bytes());
            let root = if lies.block_root { [9; 32] } else { leaves.root() };
            list.bytes(&block[0].path);
            encode_chunk(&lies.block.unwrap_or(chunk), &mut list);
            list.varint(lies.block_entries.unwrap_or(block.len() as u64));
            list.raw(&root);
            roots.push(merkle::plain_leaf(&root));
        }
        let list = self.chunk(ChunkKind::ManifestList, list.as_bytes());
        let mut root = Encoder::new();
        root.u8(1);
        root.u8(1);
        root.varint(lies.lists.unwrap_or(1));
        root.bytes(entries.first().map_or(b"", |entry| &entry.path));
        encode_chunk(&list, &mut root);
        root.varint(entries.len() as u64);
        ManifestRoot {
            chunk: self.chunk(ChunkKind::ManifestList, root.as_bytes()),
            root: if lies.root { [9; 32] } else { roots.root() },
            entries: lies.entries.unwrap_or(entries.len() as u64),
        }
    }

    /// Signs a snapshot of these entries and sends it.
    pub fn publish(mut self, entries: &[Raw]) -> SnapshotId {
        let manifest = self.manifest(entries);
        let credential = &self.session.credential;
        let identity = PackIdentity {
            repository: self.session.repository,
            writer: credential.writer_id(),
            domain: credential.domain_id(),
        };
        let objects = &self.session.objects;
        let mut head: Head = self.session.database.head().unwrap();
        for (class, pack) in [PackClass::Data, PackClass::Meta].into_iter().zip(&mut self.packs) {
            if pack.is_empty() {
                continue;
            }
            let session =
                Session::new(identity, class, credential.epoch(), credential.reader(class));
            // It does not look whether what it sends can be read back.
            let mut sealer = Sealer::new(1, false);
            let sealed = pack.seal(&session, &self.keys, 1, &mut sealer, Vec::new()).unwrap();
            self.session.database.intend(&sealed.receipt).unwrap();
            objects.put_new(&names::pack(&sealed.receipt.id), sealed.bytes.into()).unwrap();
            self.session.database.acknowledge(&sealed.receipt).unwrap();
        }
        let packs = self.session.database.unlisted().unwrap();
        packs.iter().for_each(|pack| head.packs.push(pack.leaf()));
        let list = index::encode_list(&packs);
        let pack_list = *blake3::hash(&list).as_bytes();
        objects.put_new(&names::pack_list(&pack_list), list.into()).unwrap();
        let totals = self.lies.totals;
        let open = Snapshot {
            repository: self.session.repository,
            writer: credential.writer_id(),
            sequence: head.sequence + 1,
            previous: head.snapshot,
            epoch: credential.epoch(),
            domain: credential.domain_id(),
            time: clock::now(),
            source: self.keys.source_id(b"rogue"),
            entries: totals.unwrap_or(entries.len() as u64),
            files: totals.unwrap_or(1),
            bytes: totals.unwrap_or(1),
            pack_list,
            new_packs: packs.len() as u64,
            packs: head.packs.clone(),
            manifest_root: manifest.root,
            log_sequence: head.log_sequence,
            log_head: head.log,
        };
        let details = Details {
            source: "rogue".into(),
            location: b"/".to_vec(),
            host: "rogue".into(),
            parent: [0; 32],
            started: Timestamp::default(),
            manifest,
            exceptions: Vec::new(),
            exception_count: 0,
            exception_chunks: Vec::new(),
            program: String::new(),
            operator: String::new(),
        };
        let meta = credential.reader(PackClass::Meta);
        let bytes = snapshot::encode(&open, &details, meta, credential.signing_key());
        let id = snapshot::id_of(&bytes);
        objects.put_new(&names::snapshot(&open.writer, open.sequence, &id), bytes.into()).unwrap();
        let head = Head { sequence: open.sequence, snapshot: id.0, ..head };
        let listed = packs.len() as u64;
        let commit = drover_repo::state::Commit { objects: vec![], head, source: None, listed };
        self.session.database.begin_commit(&commit).unwrap();
        self.session.database.finish_commit(&commit).unwrap();
        id
    }
}
