//! What damage to an object must show as, worked out without the code that looks for damage: from
//! the layout of a whole repository, and the rules of `docs/format.md` for what depends on what.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use drover_chunk::Decompressor;
use drover_crypt::hierarchy::{Grant, Revocation};
use drover_ops::ReaderSession;
use drover_pack::FrameReader;
use drover_repo::{ChunkIndex, index, manifest, names};
use drover_types::{ChunkId, ChunkKind, ChunkRef, Extent, Extents};

use crate::common::bucket::Contents;

/// What a verification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It cannot begin: this is named.
    Refused(String),
    /// Objects that are named, and files that are hurt; nothing of either where all is well.
    Found { objects: BTreeSet<String>, files: BTreeSet<Vec<u8>> },
}

/// What became of an object.
pub enum Fate<'f> {
    /// It is not there.
    Gone,
    /// It is there with other bytes: of a pack, those in these places.
    Changed(&'f dyn Fn(&Range<u64>) -> bool),
}

struct File {
    path: Vec<u8>,
    lists: Vec<ChunkId>,
    chunks: Vec<ChunkId>,
}

struct Block {
    chunk: ChunkId,
    files: Vec<File>,
}

struct Snapshot {
    object: String,
    writer: String,
    sequence: u64,
    epoch: u32,
    list: Option<String>,
    log: String,
    root: ChunkId,
    lists: Vec<(ChunkId, Vec<Block>)>,
}

struct Record {
    object: String,
    writer: String,
    sequence: u64,
    epoch: u32,
}

/// The layout of a whole repository.
pub struct Layout {
    /// What the keys at hand are opened with.
    own_keys: BTreeSet<String>,
    own_slot: String,
    /// Slots of others, and their boxes.
    other_keys: BTreeSet<String>,
    /// Grants, with their writers and epochs.
    grants: BTreeMap<String, (String, u32)>,
    revocations: BTreeSet<String>,
    snapshots: Vec<Snapshot>,
    records: Vec<Record>,
    /// The packs of each list.
    lists: BTreeMap<String, Vec<String>>,
    /// The frames of each pack.
    packs: BTreeMap<String, Vec<(Range<u64>, ChunkId)>>,
    /// Index objects and their epochs.
    pub index: BTreeMap<String, u32>,
    heads: BTreeSet<String>,
}

impl Layout {
    /// Of a repository that is whole.
    pub fn of(contents: &Contents, session: &ReaderSession, index: &ChunkIndex) -> Self {
        let repository = session.repository.id();
        let slot = session.keyring.slot();
        let root = session.keyring.root_public();
        let mut layout = Self {
            own_keys: BTreeSet::from(["config".to_owned(), slot.object_name(repository)]),
            own_slot: slot.object_name(repository),
            other_keys: BTreeSet::new(),
            grants: BTreeMap::new(),
            revocations: BTreeSet::new(),
            snapshots: Vec::new(),
            records: Vec::new(),
            lists: BTreeMap::new(),
            packs: BTreeMap::new(),
            index: BTreeMap::new(),
            heads: BTreeSet::new(),
        };
        for (name, bytes) in contents {
            let last = name.rsplit('/').next().unwrap();
            if name.starts_with("keys/") {
                if let Ok(grant) = Grant::decode_verified(bytes, root) {
                    layout.grants.insert(name.clone(), (grant.writer.to_hex(), grant.epoch));
                } else if Revocation::decode_verified(bytes, root).is_ok() {
                    layout.revocations.insert(name.clone());
                } else if last.starts_with("epoch-")
                    && (last.matches('-').count() == 1 || last.ends_with(&slot.hex()))
                {
                    layout.own_keys.insert(name.clone());
                } else if *name != layout.own_slot {
                    layout.other_keys.insert(name.clone());
                }
            } else if name.starts_with("log/") {
                let stored = drover_repo::log::StoredRecord::decode(bytes.to_vec()).unwrap();
                let record = &stored.open;
                let (object, writer) = (name.clone(), record.writer.to_hex());
                let (sequence, epoch) = (record.sequence, record.epoch);
                layout.records.push(Record { object, writer, sequence, epoch });
            } else if last.starts_with("packs-") {
                let packs = index::decode_list(bytes).unwrap();
                let packs = packs.iter().map(|pack| names::pack(&pack.id)).collect();
                layout.lists.insert(name.clone(), packs);
            } else if name.starts_with("index/") {
                let epoch = index::epoch_of(bytes, repository).unwrap();
                layout.index.insert(name.clone(), epoch);
            }
        }
        for pack in index.packs() {
            let frames = pack.entries.iter().map(|entry| (entry.range(), entry.id));
            layout.packs.insert(names::pack(&pack.id), frames.collect());
        }
        layout.read_manifests(session, index);
        let newest = |s: &&Snapshot| {
            let later = |o: &Snapshot| o.writer == s.writer && o.sequence > s.sequence;
            !layout.snapshots.iter().any(later)
        };
        layout.heads = layout.snapshots.iter().filter(newest).map(|s| s.object.clone()).collect();
        layout
    }

    fn read_manifests(&mut self, session: &ReaderSession, index: &ChunkIndex) {
        let reader = session.chunks(index);
        let mut frames = FrameReader::new(Decompressor::new());
        for snapshot in &session.history.snapshots {
            let open = &snapshot.stored.open;
            let root = snapshot.details.manifest.chunk;
            let mut read =
                |chunk: &ChunkRef, kind| reader.read_vec(chunk, kind, &mut frames).unwrap();
            let mut lists = Vec::new();
            let listed = manifest::decode_root(&read(&root, ChunkKind::ManifestList)).unwrap();
            for list in listed {
                let mut blocks = Vec::new();
                let bytes = read(&list.chunk, ChunkKind::ManifestList);
                for block in manifest::decode_list(&bytes).unwrap() {
                    let bytes = read(&block.chunk, ChunkKind::ManifestBlock);
                    let keys = session.history.keys(snapshot);
                    let entries = manifest::decode_block(&bytes, &block, keys).unwrap();
                    let mut files = Vec::new();
                    for entry in entries {
                        let Some(content) = &entry.content else { continue };
                        let above = match &content.extents {
                            Extents::Inline(_) => Vec::new(),
                            Extents::Lists { level: 1, lists } => {
                                lists.iter().map(|chunk| chunk.id).collect()
                            }
                            Extents::Lists { .. } => panic!("a file of the fixture is too large"),
                        };
                        let mut frames = FrameReader::new(Decompressor::new());
                        let extents =
                            drover_repo::tree::resolve(&reader, content, &mut frames).unwrap();
                        let chunk = |extent: &Extent| match extent {
                            Extent::Chunk(chunk) => Some(chunk.id),
                            Extent::Hole(_) => None,
                        };
                        files.push(File {
                            path: entry.path.as_bytes().to_vec(),
                            lists: above,
                            chunks: extents.iter().filter_map(chunk).collect(),
                        });
                    }
                    blocks.push(Block { chunk: block.chunk.id, files });
                }
                lists.push((list.chunk.id, blocks));
            }
            self.snapshots.push(Snapshot {
                object: snapshot.object(),
                writer: open.writer.to_hex(),
                sequence: open.sequence,
                epoch: open.epoch,
                list: (open.new_packs > 0).then(|| names::pack_list(&open.pack_list)),
                log: names::log(&open.writer, open.log_sequence, &open.log_head),
                root: root.id,
                lists,
            });
        }
    }

    /// What a verification has to say once this happened to `object`, and nothing to others.
    pub fn expected(&self, object: &str, fate: &Fate<'_>) -> Seen {
        let gone = matches!(fate, Fate::Gone);
        // An epoch that is gone takes with it what was sealed under it.
        let epoch = object.rsplit('/').next().and_then(|name| name.strip_prefix("epoch-"));
        let lost_epoch = epoch.and_then(|number| number.parse::<u32>().ok()).filter(|_| gone);
        if self.own_keys.contains(object) && lost_epoch.is_none() {
            return match gone && object == self.own_slot {
                true => Seen::Refused("key file".into()),
                false => Seen::Refused(object.into()),
            };
        }
        let mut named: BTreeSet<String> = BTreeSet::new();
        // What is gone shows where something else says that it was there.
        if !gone || (self.other_keys.contains(object) && epoch.is_some()) {
            named.insert(object.into());
        }
        let sealed = self.index.iter().filter(|(_, epoch)| lost_epoch == Some(**epoch));
        named.extend(sealed.map(|(name, _)| name.clone()));

        // Grants, and whose all are lost.
        let lost = |name: &str, epoch: u32| name == object || lost_epoch == Some(epoch);
        let mut writers: BTreeSet<&str> = BTreeSet::new();
        for (name, (writer, epoch)) in &self.grants {
            match lost(name, *epoch) {
                false => drop(writers.insert(writer)),
                true if name != object => drop(named.insert(name.clone())),
                true => {}
            }
        }
        let stands =
            |name: &str, writer: &str, epoch: u32| !lost(name, epoch) && writers.contains(writer);
        let (there, lost_snapshots): (Vec<&Snapshot>, Vec<&Snapshot>) =
            self.snapshots.iter().partition(|s| stands(&s.object, &s.writer, s.epoch));
        let (records, lost_records): (Vec<&Record>, Vec<&Record>) =
            self.records.iter().partition(|r| stands(&r.object, &r.writer, r.epoch));
        let unread = lost_snapshots.iter().map(|s| &s.object);
        let unread = unread.chain(lost_records.iter().map(|r| &r.object));
        named.extend(unread.filter(|name| *name != object).cloned());
        named.extend(
            lost_snapshots.iter().map(|s| &s.object).filter(|o| self.heads.contains(*o)).cloned(),
        );

        // Chains: whoever does not follow what is before it.
        let snapshot_before = |s: &&&Snapshot| {
            s.sequence > 1
                && !there.iter().any(|o| o.writer == s.writer && o.sequence + 1 == s.sequence)
        };
        named.extend(there.iter().filter(snapshot_before).map(|s| s.object.clone()));
        let record_before = |r: &&&Record| {
            r.sequence > 1
                && !records.iter().any(|o| o.writer == r.writer && o.sequence + 1 == r.sequence)
        };
        named.extend(records.iter().filter(record_before).map(|r| r.object.clone()));
        let without_record = |s: &&&Snapshot| !records.iter().any(|r| r.object == s.log);
        named.extend(there.iter().filter(without_record).map(|s| s.object.clone()));

        // Packs that are listed, and the frames in them that are whole.
        let mut packs = BTreeSet::new();
        for list in there.iter().filter_map(|s| s.list.as_ref()) {
            match list == object {
                true => drop(named.insert(list.clone())),
                false => packs.extend(&self.lists[list]),
            }
        }
        let mut whole: BTreeSet<ChunkId> = BTreeSet::new();
        for pack in &packs {
            let frames = self.packs[*pack].iter().filter(|(range, _)| match fate {
                _ if *pack != object => true,
                Fate::Gone => false,
                Fate::Changed(hit) => !hit(range),
            });
            whole.extend(frames.map(|(_, id)| id));
        }
        if self.packs.contains_key(object) {
            named.insert(object.into());
        }

        // Manifests, and files.
        let mut files = BTreeSet::new();
        for snapshot in &there {
            if !whole.contains(&snapshot.root) {
                named.insert(snapshot.object.clone());
                continue;
            }
            for (list, blocks) in &snapshot.lists {
                if !whole.contains(list) {
                    named.insert(snapshot.object.clone());
                    continue;
                }
                for block in blocks {
                    if !whole.contains(&block.chunk) {
                        named.insert(snapshot.object.clone());
                        continue;
                    }
                    let hurt =
                        |f: &&File| f.lists.iter().chain(&f.chunks).any(|c| !whole.contains(c));
                    files.extend(block.files.iter().filter(hurt).map(|file| file.path.clone()));
                }
            }
        }
        Seen::Found { objects: named, files }
    }
}
