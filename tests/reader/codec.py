"""The encoding (format.md, "Encoding") and what is said of damage."""

import contextlib
import os
import pathlib


class Damaged(Exception):
    """Bytes are not what the format says."""


def require(condition, message):
    if not condition:
        raise Damaged(message)


@contextlib.contextmanager
def within(name):
    """Damage within names this object; reading does not go on."""
    try:
        yield
    except Damaged as damage:
        raise Damaged(f"{name}: {damage}") from None


class Problems:
    """What was found: of objects, and of files."""

    def __init__(self):
        self.objects, self.files = {}, {}

    def add(self, name, what):
        self.objects.setdefault(name, str(what))

    def hurt(self, path, what):
        self.files.setdefault(path, str(what))

    @contextlib.contextmanager
    def about(self, name):
        """Whatever is damaged within is a problem of this object, and reading goes on after it."""
        try:
            yield
        except Damaged as damage:
            self.add(name, damage)


class Objects:
    """The objects of a repository in a directory: a file for each, named as the object is."""

    def __init__(self, root):
        self.root = pathlib.Path(root)

    def get(self, name):
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            raise Damaged("it is not there") from None

    def names(self, prefix):
        found = []
        for folder, _, files in os.walk(self.root / prefix):
            below = pathlib.Path(folder).relative_to(self.root)
            found += [str(below / file) for file in files]
        return sorted(found)


class Reader:
    """Takes values off bytes; refuses second encodings."""

    def __init__(self, data, magic=None):
        self.data, self.at = data, 0
        if magic:
            require(self.take(8) == magic, "another magic")
            require(self.take(2) == b"\1\1", "an unknown version or suite")

    def take(self, count):
        require(self.at + count <= len(self.data), "it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count):
        return int.from_bytes(self.take(count), "little")

    def varint(self, bits=64):
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            require(shift < 70, "a number of too many bytes")
        require(byte != 0 or shift == 7, "a number not in its shortest form")
        require(value >> bits == 0, "a number that is too large")
        return value

    def signed(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def time(self):
        """Nanoseconds since 1970."""
        seconds, nanoseconds = self.signed(), self.varint()
        require(nanoseconds < 1_000_000_000, "a time of too many nanoseconds")
        return seconds * 1_000_000_000 + nanoseconds

    def bytes(self, most=None):
        length = self.varint()
        require(most is None or length <= most, "a value that is too long")
        return self.take(length)

    def text(self, most):
        try:
            return self.bytes(most).decode()
        except UnicodeDecodeError:
            raise Damaged("a text that is not UTF-8") from None

    def path(self):
        path = self.bytes(1 << 20)
        for component in path.split(b"/") if path else []:
            require(component not in (b"", b".", b"..") and b"\0" not in component, "a bad path")
            require(len(component) <= 255, "a component that is too long")
        return path

    def chunk(self):
        """A chunk-ref: name and length."""
        name, length = self.take(32), self.varint()
        require(1 <= length <= 8 << 20, "a chunk of an impossible length")
        return name, length

    def before(self):
        return self.data[: self.at]

    def more(self):
        return self.at < len(self.data)

    def end(self):
        require(not self.more(), "bytes are left over")


def order(path):
    """Paths are ordered by component, a prefix first."""
    return path.split(b"/") if path else []
