"""Snapshots, their pack lists and the audit log (format.md)."""

import re
import struct

from codec import Reader, require
from crypto import Tree, digest, keyed, plain_leaf, signed, unseal

ZEROS = bytes(32)


class Snapshot:
    """The open part and the sealed one, each checked against the other."""

    def __init__(self, keys, writer, data):
        self.writer, self.id, self.packs = writer, digest(data), []
        reader = Reader(signed(writer.public, "snapshot", data), b"DRVRSNAP")
        require(reader.take(16) == keys.repository, "of another repository")
        self.writer_id, self.sequence = reader.take(16), reader.number(8)
        self.previous, epoch, domain = reader.take(32), reader.number(4), reader.take(16)
        require(keys.writers.get(self.writer_id) is writer, "of another writer")
        require(domain == writer.domain, "of another domain than its writer's")
        require(writer.last is None or self.sequence <= writer.last, "after the revocation")
        reader.time()
        source = reader.take(16)
        self.entries, self.files, self.bytes = (reader.varint() for _ in range(3))
        self.pack_list, self.new_packs = reader.take(32), reader.varint()
        self.tree = Tree.read(reader)
        self.manifest_root = reader.take(32)
        self.log = reader.varint(), reader.take(32)
        info = digest(reader.before())
        sealed = reader.bytes(16 << 20)
        reader.end()
        require(epoch in keys.meta, "of an epoch that is not there")
        inner = Reader(unseal(keys.meta[epoch], info, sealed))
        self.source = inner.text(4096)
        require(keyed(writer.source_key(), self.source.encode())[:16] == source, "another source")
        inner.bytes(1 << 20), inner.text(4096), inner.take(32), inner.time()
        self.manifest = inner.chunk()
        require(inner.take(32) == self.manifest_root, "open and sealed part differ")
        self.manifest_entries = inner.varint()
        inner.varint()
        inner.bytes()
        count = inner.varint()
        require(count <= 65_536, "too many chunks of exceptions")
        for _ in range(count):
            inner.chunk()
        inner.text(256), inner.text(4096)
        inner.end()


def read_record(keys, writer, data):
    """Sequence and previous hash of a record of the log."""
    reader = Reader(signed(writer.public, "log record", data), b"DRVRLOG\0")
    require(reader.take(16) == keys.repository, "of another repository")
    require(keys.writers.get(reader.take(16)) is writer, "of another writer")
    sequence, previous = reader.number(8), reader.take(32)
    reader.time()
    epoch = reader.number(4)
    info = digest(reader.before())
    sealed = reader.bytes(16 << 20)
    reader.end()
    require(epoch in keys.meta, "of an epoch that is not there")
    inner = Reader(unseal(keys.meta[epoch], info, sealed))
    for _ in range(6):
        inner.text(64 << 10)
    inner.end()
    return sequence, previous


class History:
    """All snapshots that are accepted, and `packs`: what they list, with the writer of each."""

    def __init__(self, objects, keys, problems):
        self.objects, self.keys, self.problems = objects, keys, problems
        self.snapshots, self.packs, records = [], {}, {}
        for name, writer, data, sequence in self.named("snapshots"):
            with problems.about(name):
                snapshot = Snapshot(keys, writer, data)
                require(snapshot.sequence == sequence, "another number than its name's")
                self.snapshots.append(snapshot)
        for name, writer, data, sequence in self.named("log"):
            with problems.about(name):
                number, previous = read_record(keys, writer, data)
                require(number == sequence, "another number than its name's")
                records.setdefault(writer, []).append((number, previous, digest(data)))
        self.snapshots.sort(key=lambda s: (s.writer_id, s.sequence, s.id))
        for id, writer in keys.writers.items():
            of_writer = [s for s in self.snapshots if s.writer is writer]
            chain = [(s.sequence, s.previous, s.id) for s in of_writer]
            self.check_chain(f"snapshots/{id.hex()}", chain)
            log = sorted(records.get(writer, []))
            self.check_chain(f"log/{id.hex()}", log)
            heads = {(0, ZEROS)} | {(number, hash) for number, _, hash in log}
            for snapshot in of_writer:
                if snapshot.log not in heads:
                    what = f"record {snapshot.log[0]}, which a snapshot names, is not there"
                    problems.add(f"log/{id.hex()}", what)
            self.check_packs(of_writer)

    def named(self, folder):
        """Name, writer, bytes and number of what lies there under a name that fits."""
        for name in self.objects.names(folder):
            with self.problems.about(name):
                found = re.fullmatch(folder + "/([0-9a-f]{32})/([0-9]{20})-([0-9a-f]{64})", name)
                require(found, "no object of this name is known")
                data = self.objects.get(name)
                require(digest(data).hex() == found[3], "the bytes are not those of its name")
                writer = self.keys.writers.get(bytes.fromhex(found[1]))
                require(writer, "its writer has no grant")
                yield name, writer, data, int(found[2])

    def check_chain(self, folder, chain):
        before = (0, ZEROS)
        for number, previous, hash in chain:
            if number == before[0]:
                self.problems.add(folder, f"number {number} is there twice")
            elif number != before[0] + 1:
                self.problems.add(folder, f"number {before[0] + 1} is not there")
            elif previous != before[1]:
                self.problems.add(folder, f"number {number} follows another one before it")
            before = number, hash

    def check_packs(self, snapshots):
        tree, number = Tree(), 0
        for snapshot in snapshots:
            name = f"index/packs-{snapshot.pack_list.hex()}"
            if snapshot.sequence != number + 1:
                tree = None
            with self.problems.about(name):
                packs = self.pack_list(name, snapshot)
                for pack, length in packs:
                    self.packs.setdefault((pack, snapshot.writer_id), length)
                    if tree:
                        tree.add(plain_leaf(pack + struct.pack("<Q", length)))
                require(not tree or tree == snapshot.tree, "the tree of packs is another")
            tree, number = Tree(snapshot.tree.count, snapshot.tree.edge), snapshot.sequence

    def pack_list(self, name, snapshot):
        if snapshot.pack_list == ZEROS:
            require(snapshot.new_packs == 0, "new packs without a list")
            return []
        data = self.objects.get(name)
        require(digest(data) == snapshot.pack_list, "the bytes are not those of its name")
        reader = Reader(data)
        require(reader.take(9) == b"DRVRLIST\1", "another magic or version")
        packs = [(reader.take(32), reader.varint()) for _ in range(reader.varint())]
        reader.end()
        require(len(packs) == snapshot.new_packs, "another number of packs than the snapshot's")
        return packs
