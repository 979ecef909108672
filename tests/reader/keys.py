"""From a password to the readers' keys and the writers' domains (format-keys.md)."""

import re

from argon2.low_level import Type, hash_secret_raw
from codec import Damaged, Reader, require, within
from crypto import check_commitment, derive, digest, public_of, signed, unseal, unwrap

PASSPHRASE = 0


class WrongPassword(Exception):
    pass


class Writer:
    def __init__(self, public, domain, secret):
        self.public, self.domain, self.secret = public, domain, secret
        self.last = None

    def chunk_key(self, kind):
        return derive("domain chunk names", self.secret, bytes([kind]))

    def salt_key(self):
        return derive("domain leaf salts", self.secret)

    def source_key(self):
        return derive("domain source names", self.secret)


class Keys:
    """What a password opens. `data` and `meta` are the readers of each epoch."""

    def __init__(self, objects, password, problems):
        with within("config"):
            config = objects.get("config")
            reader = Reader(config, b"DRVRCONF")
            self.repository, self.root = reader.take(16), reader.take(32)
            reader.time()
            reader.take(64)
            reader.end()
            signed(self.root, "config", config)
        self.folder = f"keys/{self.repository.hex()}/"
        self.objects = {}
        for name in objects.names(self.folder):
            self.objects[name[len(self.folder) :]] = objects.get(name)
        self.problems = problems
        self.data, self.meta, self.writers = {}, {}, {}
        self.open_epochs(*self.open_slot(password))
        self.open_grants()
        self.check_names()

    def matching(self, pattern):
        for name in sorted(self.objects):
            if found := re.fullmatch(pattern, name):
                yield name, found, self.objects[name]

    def body(self, data, magic, context):
        """The signed object, opened behind its head and repository."""
        reader = Reader(signed(self.root, context, data), magic)
        require(reader.take(16) == self.repository, "of another repository")
        return reader

    def open_slot(self, password):
        opened, tried = None, 0
        for name, found, data in self.matching("slot-([0-9a-f]{16})"):
            with self.problems.about(self.folder + name):
                reader = self.body(data, b"DRVRSLOT", "slot")
                slot = reader.take(8)
                require(slot.hex() == found[1], "another slot's name")
                kind, role = reader.number(1), reader.number(1)
                require(kind <= 2 and role <= 2, "an unknown kind or role")
                reader.time()
                memory, passes, lanes = (reader.number(4) for _ in range(3))
                require(64 << 10 <= memory <= 2 << 20, "Argon2id's memory is out of bounds")
                require(1 <= passes <= 16 and 1 <= lanes <= 16, "Argon2id is out of bounds")
                salt, recipient, ephemeral = (reader.take(32) for _ in range(3))
                zeros = recipient + ephemeral == bytes(64)
                require(kind == 2 or zeros, "keys that are not zero")
                header = reader.before()
                wrapped, label = reader.take(80), reader.bytes(256 + 48)
                reader.end()
                if kind != PASSPHRASE or opened or tried == 256:
                    continue
                tried += 1
                hashed = hash_secret_raw(password, salt, passes, memory, lanes, 32, Type.ID)
                key = derive("slot wrapping key", bytes([kind]), hashed, salt)
                try:
                    check_commitment(key, wrapped[:32])
                except Damaged:
                    continue
                secret = unwrap(key, header, wrapped)
                unwrap(derive("slot label key", secret, salt), slot, label).decode()
                opened = slot, role, secret
        if not opened:
            raise WrongPassword
        return opened

    def open_epochs(self, slot, role, secret):
        boxes = {}
        for name, found, data in self.matching(f"epoch-([1-9][0-9]*)-{slot.hex()}"):
            with within(self.folder + name):
                reader = Reader(data, b"DRVRSBOX")
                require(reader.take(16) == self.repository, "of another repository")
                number = reader.number(4)
                require(str(number) == found[1] and reader.take(8) == slot, "another name")
                require(reader.number(1) == role, "another role than its slot's")
                reader.take(32)
                header = reader.before()
                content, escrow = reader.bytes(), reader.take(80)
                reader.take(64)
                reader.end()
                plain = Reader(unwrap(derive("slot box key", secret, header), header, content))
                require(plain.take(32) == self.root, "another root than config's")
                signed(self.root, "slot box", data)
                box = {"meta": (plain.take(32), plain.take(32))}
                if role < 2:
                    box["data"] = plain.take(32), plain.take(32)
                if role == 0:
                    plain.take(32)
                    owner = plain.take(32)
                    key = derive("escrow key", owner, header)
                    require(unwrap(key, header, escrow) == secret, "another escrow")
                plain.end()
                boxes[number] = box
        for name, found, data in self.matching("epoch-([1-9][0-9]*)"):
            with within(self.folder + name):
                reader = self.body(data, b"DRVREPOC", "epoch")
                number = reader.number(4)
                require(str(number) == found[1], "another number")
                require(number in boxes, "there is no box of it for this slot")
                public = reader.take(32), reader.take(32)
                reader.end()
                for stored, which in zip(public, ("data", "meta")):
                    if which in boxes[number]:
                        require(public_of(boxes[number][which][0]) == stored, "other keys")
                        getattr(self, which)[number] = boxes[number][which]
        require(self.meta, "no epoch is there")

    def open_grants(self):
        for name, found, data in self.matching("writer-([0-9a-f]{32})-([1-9][0-9]*)"):
            with self.problems.about(self.folder + name):
                reader = self.body(data, b"DRVRGRNT", "grant")
                writer, public, _, domain = (reader.take(n) for n in (16, 32, 32, 16))
                epoch = reader.number(4)
                require((writer.hex(), str(epoch)) == found.groups(), "another writer's name")
                require(digest(public)[:16] == writer, "the id is not of this key")
                require(epoch in self.meta, "of an epoch that is not there")
                reader.time()
                info = reader.before()
                plain = Reader(unseal(self.meta[epoch], info, reader.bytes()))
                reader.take(208)
                reader.end()
                secret = plain.take(32)
                plain.text(256)
                plain.end()
                require(derive("domain id", secret)[:16] == domain, "another domain's secret")
                known = self.writers.setdefault(writer, Writer(public, domain, secret))
                require((known.public, known.domain) == (public, domain), "grants that differ")
        for name, found, data in self.matching("revoked-([0-9a-f]{32})"):
            with self.problems.about(self.folder + name):
                reader = self.body(data, b"DRVRRVOK", "revocation")
                writer, last = reader.take(16), reader.number(8)
                reader.end()
                require(writer.hex() == found[1], "another writer's name")
                if writer in self.writers:
                    self.writers[writer].last = last

    def check_names(self):
        known = (
            "slot-[0-9a-f]{16}|epoch-[1-9][0-9]*(-[0-9a-f]{16})?"
            "|writer-[0-9a-f]{32}-[1-9][0-9]*|revoked-[0-9a-f]{32}"
        )
        for name in self.objects:
            if not re.fullmatch(known, name):
                self.problems.add(self.folder + name, "no object of this name is known")
        for name, _, data in self.matching("epoch-[1-9][0-9]*-[0-9a-f]{16}"):
            with self.problems.about(self.folder + name):
                signed(self.root, "slot box", data)
