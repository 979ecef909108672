"""Entries, manifests and the contents of files (format.md)."""

from blake3 import blake3
from codec import Damaged, Reader, order, require
from crypto import Tree, keyed, plain_leaf

EXTENTS, BLOCK, LIST = 1, 2, 3
DIRECTORY, FILE, SYMLINK, FIFO, SOCKET, CHARACTER, DEVICE = range(7)


class Entry:
    def __init__(self, leaf, side):
        reader = Reader(leaf)
        require(reader.number(1) == 1, "a leaf of an unknown version")
        self.kind = reader.number(1)
        require(self.kind <= DEVICE, "an entry of an unknown kind")
        self.path, self.mode = reader.path(), reader.varint()
        require(self.mode <= 0o7777, "an impossible mode")
        self.uid, self.gid = reader.varint(32), reader.varint(32)
        self.user, self.group = reader.text(256), reader.text(256)
        self.mtime, self.flags = reader.time(), reader.varint(32)
        self.xattrs = [(reader.bytes(), reader.bytes()) for _ in range(reader.varint())]
        names = [name for name, _ in self.xattrs]
        require(all(n and b"\0" not in n for n in names), "a bad name of an attribute")
        require(names == sorted(set(names)), "attributes out of order")
        require(sum(len(n) + len(v) for n, v in self.xattrs) <= 1 << 20, "too long attributes")
        if self.kind == SYMLINK:
            self.target = reader.bytes(4096)
        if self.kind in (CHARACTER, DEVICE):
            self.device = reader.varint(32), reader.varint(32)
        if self.kind == FILE:
            self.size, self.hash = reader.varint(), reader.take(32)
        self.link = reader.path()
        require(self.kind != DIRECTORY or not self.link, "a directory that is a hard link")
        require(not self.link or order(self.link) < order(self.path), "a link to what comes later")
        reader.end()
        self.read_side(Reader(side))

    def read_side(self, reader):
        flags = reader.number(1)
        require(flags <= 7, "unknown flags")
        for _ in range(2):
            reader.varint()
        reader.varint(32)
        for _ in range(2):
            reader.varint()
        if flags & 4:
            reader.time()
        self.form = reader.number(1)
        require((self.form == 0) == (self.kind != FILE), "a form of another kind")
        self.parts = []
        if self.form == 2:
            self.level = reader.varint()
            require(1 <= self.level <= 8, "an impossible level")
        if self.form in (1, 2):
            count = reader.varint()
            require(count <= 1024, "too many extents")
            read = extent if self.form == 1 else Reader.chunk
            self.parts = [read(reader) for _ in range(count)]
        require(self.form <= 3, "an unknown form")
        reader.end()


def extent(reader):
    """A chunk-ref, or the length of a hole."""
    kind = reader.number(1)
    if kind == 0:
        return reader.chunk()
    require(kind == 1, "an unknown extent")
    length = reader.varint()
    require(length, "an empty hole")
    return length


def extents(packs, writer, entry):
    if entry.form == 3:
        return [(keyed(writer.chunk_key(0), entry.hash), entry.size)]
    parts = entry.parts
    for level in range(entry.level if entry.form == 2 else 0, 0, -1):
        below = []
        for chunk in parts:
            reader = Reader(packs.get(writer, EXTENTS, chunk))
            while reader.more():
                below.append(extent(reader))
                require(level == 1 or isinstance(below[-1], tuple), "a hole among lists")
        parts = below
    return parts


def content(packs, writer, entry):
    """(offset, bytes) of what is no hole; damaged, where the whole is not what the leaf says."""
    hasher, at = blake3(), 0
    for part in extents(packs, writer, entry):
        if isinstance(part, int):
            require(at + part <= entry.size, "longer than its size")
            for begin in range(0, part, 1 << 20):
                hasher.update(bytes(min(1 << 20, part - begin)))
            at += part
        else:
            data = packs.get(writer, 0, part)
            yield at, data
            hasher.update(data)
            at += len(data)
    require(at == entry.size, "the extents do not add up to its size")
    require(hasher.digest() == entry.hash, "the hash of the whole is another")


def read_list(data, level):
    reader = Reader(data)
    require(reader.take(2) == bytes([1, level]), "a list of another version or level")
    rows = []
    for _ in range(reader.varint()):
        rows.append((reader.path(), reader.chunk(), reader.varint()))
        if level == 0:
            rows[-1] += (reader.take(32),)
    reader.end()
    return rows


def entries(packs, snapshot, problems):
    """The entries of a snapshot in order. Damage is reported, and what is whole still comes."""
    writer, tree, count, last, whole = snapshot.writer, Tree(), 0, None, True
    name = f"snapshot {snapshot.id.hex()}"

    def lost(what, first, error):
        problems.add(name, f"{what} from {first!r}: {error}")

    try:
        lists = read_list(packs.get(writer, LIST, snapshot.manifest), 1)
    except Damaged as error:
        return lost("the root of the manifest", b"", error)
    salt_key = writer.salt_key()
    for first, chunk, expected in lists:
        try:
            blocks = read_list(packs.get(writer, LIST, chunk), 0)
            require(blocks and blocks[0][0] == first, "another first path")
            require(sum(b[2] for b in blocks) == expected, "another number of entries")
        except Damaged as error:
            lost("a list", first, error)
            whole = False
            continue
        for first, chunk, expected, root in blocks:
            tree.add(plain_leaf(root))
            try:
                block = read_block(packs.get(writer, BLOCK, chunk), salt_key, root)
                paths = [order(entry.path) for entry in block]
                require(len(block) == expected and block[0].path == first, "another block")
                require(all(a < b for a, b in zip(paths, paths[1:])), "entries out of order")
                require(last is None or last < paths[0], "blocks that overlap")
            except Damaged as error:
                lost("a block", first, error)
                whole = False
                continue
            last, count = paths[-1], count + len(block)
            yield from block
    if whole:
        with problems.about(name):
            require(tree.root() == snapshot.manifest_root, "another manifest root")
            require(count == snapshot.manifest_entries, "another number of entries")
            require(count == snapshot.entries + 1, "another number of entries in the open part")


def read_block(data, salt_key, root):
    reader, tree, block = Reader(data), Tree(), []
    require(reader.number(1) == 1, "a block of an unknown version")
    while reader.more():
        leaf, side = reader.bytes(), reader.bytes()
        require(max(len(leaf), len(side)) <= (3 << 20) + (128 << 10), "an entry that is too long")
        tree.add(plain_leaf(keyed(salt_key, leaf) + leaf))
        block.append(Entry(leaf, side))
    require(block and tree.root() == root, "another root than its list's")
    return block
