"""An SFTP server that lies, as an sshd runs it: `Subsystem sftp /usr/bin/python3 sftp.py LIE`.

It shows a tree of one directory with the file `file`, of 300,000 bytes of 7, and gets one thing
wrong, which its argument names.
"""

import os
import struct
import sys

LIE = sys.argv[1]
SIZE = 300_000
DIRECTORY, FILE, LINK = 0o40755, 0o100644, 0o120777

(INIT, VERSION, OPEN, CLOSE, READ, LSTAT, FSTAT, OPENDIR, READDIR, REALPATH, STAT, READLINK) = (
    1, 2, 3, 4, 5, 7, 8, 11, 12, 16, 17, 19)
(STATUS, HANDLE, DATA, NAME, ATTRS) = (101, 102, 103, 104, 105)
EOF_, NO_SUCH_FILE, FAILURE = 1, 2, 4


def take(count):
    got = b""
    while len(got) < count:
        piece = sys.stdin.buffer.read1(count - len(got))
        if not piece:
            sys.exit()
        got += piece
    return got


def send(kind, payload):
    sys.stdout.buffer.write(struct.pack(">IB", len(payload) + 1, kind) + payload)
    sys.stdout.buffer.flush()


def text(value):
    return struct.pack(">I", len(value)) + value


def attributes(mode, size=0, mtime=1_000_000_000):
    # Size, owners, permissions, times.
    return struct.pack(">IQIIIII", 0b1111, size, 0, 0, mode, mtime, mtime)


def name(value, attrs):
    return text(value) + text(b"") + attrs


def status(number, code):
    send(STATUS, struct.pack(">II", number, code) + text(b"as it is") + text(b""))


class Server:
    def __init__(self):
        self.listed = set()
        self.handles = {}
        self.opened = 0
        self.reads = 0
        self.stats = 0

    def names(self):
        """What the directory holds."""
        file = name(b"file", attributes(FILE, SIZE))
        return {
            "dot-dot": [name(b"..", attributes(DIRECTORY)), name(b"../up", attributes(FILE)), file],
            "slash": [name(b"a/b", attributes(FILE)), name(b"/etc/passwd", attributes(FILE)), file],
            "empty-name": [name(b"", attributes(FILE)), file],
            "nul": [name(b"a\0b", attributes(FILE)), file],
            "long-name": [name(b"n" * 3_000, attributes(FILE)), file],
            "huge-name": [name(b"n" * 60_000, attributes(FILE)), file],
            "twice": [file, file, file],
            "no-attributes": [name(b"strange", struct.pack(">I", 0)), file],
            "deep": [name(b"d" * 255, attributes(DIRECTORY)), file],
            "link": [name(b"link", attributes(LINK)), file],
            "huge": [name(b"huge", attributes(FILE, (1 << 64) - 1)), file],
        }.get(LIE, [file])

    def answer(self, kind, number, body):
        if kind == REALPATH:
            path = b"/" + b"x" * 100_000 if LIE == "long-root" else b"/tree"
            send(NAME, struct.pack(">II", number, 1) + name(path, attributes(DIRECTORY)))
        elif kind in (STAT, LSTAT):
            length = struct.unpack(">I", body[:4])[0]
            at = body[4:4 + length]
            file = at.endswith(b"file") or at.endswith(b"huge")
            send(ATTRS, struct.pack(">I", number)
                 + attributes(FILE if file else DIRECTORY, SIZE if file else 0))
        elif kind == FSTAT:
            self.stats += 1
            size = SIZE + (self.stats if LIE == "grows" else 0)
            if LIE == "grew-out-of-sight":
                size = SIZE if self.stats < 3 else SIZE * 2
            send(ATTRS, struct.pack(">I", number) + attributes(FILE, size))
        elif kind == OPENDIR:
            self.opened += 1
            handle = b"d%d" % self.opened
            send(HANDLE, struct.pack(">I", number) + text(handle))
        elif kind == OPEN:
            if LIE == "vanishes":
                return status(number, NO_SUCH_FILE)
            self.opened += 1
            send(HANDLE, struct.pack(">I", number) + text(b"f%d" % self.opened))
        elif kind == READDIR:
            handle = body
            if LIE == "endless":
                begin = len(self.listed)
                self.listed.add(begin)
                names = [name(b"%09d" % (begin * 1000 + i), attributes(FILE)) for i in range(1000)]
            elif LIE == "empty-answers":
                names = []
            elif handle in self.listed:
                return status(number, EOF_)
            else:
                self.listed.add(handle)
                names = self.names()
            send(NAME, struct.pack(">II", number, len(names)) + b"".join(names))
        elif kind == READLINK:
            target = b"t" * 200_000 if LIE == "link" else b"file"
            send(NAME, struct.pack(">II", number, 1) + name(target, attributes(LINK)))
        elif kind == READ:
            length = struct.unpack(">I", body[:4])[0]
            offset, count = struct.unpack(">QI", body[4 + length:4 + length + 12])
            self.reads += 1
            if LIE == "short-reads":
                count = min(count, 1 + self.reads % 1000)
            if LIE == "long-reads":
                count *= 3
            end = 10 if LIE == "ends-early" else SIZE
            if LIE not in ("grows", "long-reads"):
                count = max(0, min(count, end - offset))
            if count == 0:
                return status(number, EOF_)
            send(DATA, struct.pack(">I", number) + text(b"\7" * count))
        elif kind == CLOSE:
            status(number, 0)
        else:
            status(number, FAILURE)

    def run(self):
        if LIE == "silent":
            while True:
                take(1)
        if LIE == "noise":
            sys.stdout.buffer.write(os.urandom(1 << 16))
            sys.stdout.buffer.flush()
        if LIE == "hangs-up":
            sys.exit()
        while True:
            length = struct.unpack(">I", take(4))[0]
            packet = take(length)
            kind, body = packet[0], packet[1:]
            if kind == INIT:
                version = 1 if LIE == "old-version" else 3
                send(VERSION, struct.pack(">I", version))
                continue
            number, body = struct.unpack(">I", body[:4])[0], body[4:]
            if LIE == "hangs" and kind == READDIR:
                continue
            if LIE == "hangs-reading" and kind == READ:
                continue
            if LIE == "wrong-number":
                number += 7
            if LIE == "noise-later" and kind == READDIR:
                sys.stdout.buffer.write(os.urandom(1 << 16))
                sys.stdout.buffer.flush()
            if LIE == "wrong-sort" and kind == READDIR:
                send(ATTRS, struct.pack(">I", number) + attributes(FILE))
                continue
            if LIE == "huge-packet" and kind == READDIR:
                sys.stdout.buffer.write(struct.pack(">IB", 0xFFFF_FFFF, NAME))
                sys.stdout.buffer.flush()
                continue
            if LIE == "many-in-one" and kind == READDIR:
                send(NAME, struct.pack(">II", number, 0xFFFF_FFFF) + b"\0" * 100)
                continue
            if LIE == "cut-short" and kind == READDIR:
                send(NAME, struct.pack(">II", number, 1) + struct.pack(">I", 5_000) + b"abc")
                continue
            self.answer(kind, number, body)


Server().run()
