"""Packs and the index: from a chunk's name to its bytes (format.md)."""

import functools
import re
import struct

from codec import Damaged, Reader, require
from crypto import check_commitment, decompress, decrypt, derive, digest, keyed, unseal

DATA, META = 0, 1
KINDS = {0: DATA, 1: META, 2: META, 3: META, 4: META}


class Header:
    """A pack's first 256 bytes, and the key that they lead to."""

    def __init__(self, keys, data):
        reader = Reader(data, b"DRVRPACK")
        self.pack_class, zero, epoch = reader.number(1), reader.number(1), reader.number(4)
        require(self.pack_class <= 1 and zero == 0, "an unknown class")
        require(reader.take(16) == keys.repository, "of another repository")
        self.writer, self.domain = reader.take(16), reader.take(16)
        info = reader.before()
        sealed = reader.take(112)
        session = reader.before()
        salt, commitment = reader.take(32), reader.take(32)
        require(reader.take(16) == bytes(16), "reserved bytes that are not zero")
        reader.end()
        readers = (keys.data, keys.meta)[self.pack_class]
        require(epoch in readers, "of an epoch that this password does not open")
        self.key = derive("pack key", unseal(readers[epoch], info, sealed), salt, session)
        check_commitment(self.key, commitment)
        self.hash = digest(data)


class Frame:
    def __init__(self, pack, header, number, offset, kind, compression, name, stored, plain):
        require(kind in KINDS and KINDS[kind] == header.pack_class, "a kind of another class")
        require(compression <= 1, "an unknown compression")
        require(1 <= plain <= 8 << 20 and stored <= plain, "impossible lengths")
        self.pack, self.header, self.number, self.offset = pack, header, number, offset
        self.kind, self.compression, self.name = kind, compression, name
        self.stored, self.plain = stored, plain

    def open(self, pack, chunk_key):
        data = pack[self.offset : self.offset + self.stored + 16]
        about = struct.pack("<IBB", self.number, self.kind, self.compression)
        about += self.name + struct.pack("<I", self.plain)
        plain = decrypt(self.header.key, self.number + 1, data, self.header.hash + about)
        if self.compression:
            plain = decompress(plain, self.plain)
        require(len(plain) == self.plain, "another length than the directory's")
        require(keyed(chunk_key, digest(plain)) == self.name, "other bytes than its name's")
        return plain


def directory(name, header, data):
    """The frames by the pack's own directory."""
    reader = Reader(data[-16:])
    length, zero, magic = reader.number(4), reader.number(4), reader.take(8)
    require(magic == b"KCAPRVRD" and zero == 0, "no trailer")
    begin = len(data) - 16 - length
    require(20 <= length <= 64 << 20 and begin >= 256, "a directory of an impossible length")
    inner = Reader(decrypt(header.key, 0, data[begin:-16], header.hash))
    frames, offset = [], 256
    for number in range(inner.number(4)):
        kind, compression, chunk = inner.number(1), inner.number(1), inner.take(32)
        stored, plain = inner.number(4), inner.number(4)
        frames.append(Frame(name, header, number, offset, kind, compression, chunk, stored, plain))
        offset += stored + 16
    require(offset == begin, "the frames do not end where the directory begins")
    require(not any(inner.data[inner.at :]), "padding that is not zero")
    return frames


class Packs:
    """All chunks of the listed packs. Every pack is read whole and every frame opened."""

    def __init__(self, objects, keys, listed, problems):
        self.objects, self.keys, self.problems = objects, keys, problems
        self.chunks = {}
        indexed = self.read_index(listed)
        for (pack, writer), length in listed.items():
            name = f"packs/{pack.hex()[:2]}/{pack.hex()}"
            with problems.about(name):
                data = objects.get(name)
                damage = None
                if len(data) != length:
                    damage = "another length than the list's"
                elif digest(data) != pack:
                    damage = "the bytes are not those of its name"
                if damage:
                    # What the index knows of it can still be opened.
                    problems.add(name, damage)
                    frames = indexed.get(pack, [])
                else:
                    require(256 <= length <= 256 << 20, "a pack of an impossible length")
                    frames = directory(name, Header(keys, data[:256]), data)
                    self.compare(name, frames, indexed.get(pack, frames))
                for frame in frames:
                    self.take(name, writer, frame, data, damage)

    def take(self, name, writer, frame, data, damage):
        header, grant = frame.header, self.keys.writers[writer]
        require((header.writer, header.domain) == (writer, grant.domain), "another's pack")
        try:
            frame.open(data, grant.chunk_key(frame.kind))
        except Damaged as problem:
            if not damage:
                self.problems.add(name, f"frame {frame.number}: {problem}")
            return
        self.chunks[header.domain, frame.kind, frame.name] = frame

    def compare(self, name, frames, indexed):
        say = lambda f: (f.number, f.offset, f.kind, f.compression, f.name, f.stored, f.plain)
        if [say(f) for f in frames] != [say(f) for f in indexed]:
            self.problems.add(name, "the index says otherwise than the pack")

    def read_index(self, listed):
        """The frames of each listed pack by the index."""
        found, packs = {}, {pack for pack, _ in listed}
        for name in self.objects.names("index"):
            with self.problems.about(name):
                match = re.fullmatch("index/(packs-)?([0-9a-f]{64})", name)
                require(match, "no object of this name is known")
                data = self.objects.get(name)
                require(digest(data).hex() == match[2], "the bytes are not those of its name")
                if not match[1]:
                    for pack, frames in self.index(data):
                        if pack in packs:
                            found[pack] = frames
        return found

    def index(self, data):
        reader = Reader(data, b"DRVRINDX")
        require(reader.take(16) == self.keys.repository, "of another repository")
        reader.take(16)
        epoch = reader.number(4)
        require(epoch in self.keys.meta, "of an epoch that is not there")
        plain = unseal(self.keys.meta[epoch], reader.before(), data[reader.at :])
        length = int.from_bytes(plain[:8], "little")
        require(length <= 256 << 20, "an index that is too long")
        body = Reader(decompress(plain[8:], length))
        sessions = [body.take(176) for _ in range(body.varint())]
        for _ in range(body.varint()):
            pack, _, session = body.take(32), body.varint(), body.varint()
            require(session < len(sessions), "a session that is not there")
            header = sessions[session] + body.take(64) + bytes(16)
            header = Header(self.keys, header)
            frames, offset = [], 256
            for number in range(body.varint()):
                code, chunk = body.number(1), body.take(32)
                stored, length = body.varint(), body.varint()
                frames.append(
                    Frame(pack, header, number, offset, code >> 4, code & 15, chunk, stored, length)
                )
                offset += stored + 16
            yield pack, frames
        body.end()

    @functools.lru_cache(maxsize=4)
    def bytes_of(self, pack):
        return self.objects.get(pack)

    def get(self, writer, kind, chunk):
        name, length = chunk
        frame = self.chunks.get((writer.domain, kind, name))
        require(frame, f"chunk {name.hex()} is in no pack that opens")
        require(frame.plain == length, f"chunk {name.hex()} has another length")
        pack = frame.pack
        if isinstance(pack, bytes):
            pack = f"packs/{pack.hex()[:2]}/{pack.hex()}"
        return frame.open(self.bytes_of(pack), writer.chunk_key(kind))
