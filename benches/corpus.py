#!/usr/bin/env python3
"""Trees of files to measure with; the same for the same arguments. Python alone, no packages.

    corpus.py make large|small|mixed SCALE DIR    SCALE: 1, or a part of it such as 0.25
    corpus.py churn DIR                           change 1 % of the files
    corpus.py restore DIR                         and put them back as they were
    corpus.py size DIR                            files and bytes

At scale 1:
    large   4 files of 1 GiB: half noise, a quarter text, a quarter 16-bit pixels
    small   100,000 files of 1 to 32 KiB, log-uniform, 50 to a directory: 60 % text, 40 % noise
    mixed   20,000 files, 3 GiB, log-normal: a fifth are copies, the rest half text, half noise

Times lie in the past, so that no tool has to distrust them. Churn appends to, overwrites within,
inserts into or renames a file, a quarter of the cases each.
"""

import json
import math
import os
import random
import shutil
import sys

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PAST = 1_700_000_000_000_000_000


class Content:
    """Bytes of three sorts, none of which repeat themselves."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        spelling = random.Random("words")
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        self.words = [
            "".join(spelling.choices(letters, range(26, 0, -1), k=spelling.randint(2, 10))) + " "
            for _ in range(4096)
        ]
        # A few words are most of any text.
        self.weights = [0.0]
        for rank in range(1, len(self.words) + 1):
            self.weights.append(self.weights[-1] + 1 / rank)
        del self.weights[0]
        self.spare = b""

    def noise(self, length):
        return self.random.randbytes(length)

    def text(self, length):
        while len(self.spare) < length:
            words = self.random.choices(self.words, cum_weights=self.weights, k=MIB // 8)
            words[::11] = [f"{self.random.getrandbits(20)}\n" for _ in words[::11]]
            self.spare += "".join(words).encode()
        taken, self.spare = self.spare[:length], self.spare[length:]
        return taken

    def pixels(self, length):
        """A slope of 12 bits with four bits of noise, low byte first."""
        count = length // 2 + 1
        low = bytes(b & 15 for b in range(256))
        pixels = bytearray(2 * count)
        noise = int.from_bytes(self.random.randbytes(count).translate(low), "little")
        slope = (bytes(x // 8 % 16 * 16 for x in range(512)) * (count // 512 + 1))[:count]
        pixels[0::2] = (noise + int.from_bytes(slope, "little")).to_bytes(count, "little")
        pixels[1::2] = (bytes(x // 128 for x in range(512)) * (count // 512 + 1))[:count]
        return bytes(pixels[:length])


def write(path, parts, number):
    with open(path, "wb") as file:
        for part in parts:
            file.write(part)
    at = PAST + number * 1_000_003
    os.utime(path, ns=(at, at))


def large(directory, scale):
    os.makedirs(directory)
    for number in range(4):
        content = Content(f"large {number}")

        def parts(left):
            while left > 0:
                length = min(left, content.random.randint(256 * KIB, 2 * MIB))
                sort = content.random.choice(["noise", "noise", "text", "pixels"])
                yield getattr(content, sort)(length)
                left -= length

        write(f"{directory}/volume{number}.img", parts(int(GIB * scale)), number)


def small(directory, scale):
    content = Content("small")
    for number in range(int(100_000 * scale)):
        folder = f"{directory}/{number // 2500:02d}/{number // 50 % 50:02d}"
        if number % 50 == 0:
            os.makedirs(folder)
        length = int(math.exp(content.random.uniform(math.log(KIB), math.log(32 * KIB))))
        part = content.text(length) if content.random.random() < 0.6 else content.noise(length)
        write(f"{folder}/{number:06d}", [part], number)


def mixed(directory, scale):
    content = Content("mixed")
    count = int(20_000 * scale)
    shares = [min(content.random.lognormvariate(0, 2), 1000) for _ in range(count)]
    unit = 3 * GIB * scale / sum(shares)
    originals = []
    for number, share in enumerate(shares):
        folder = f"{directory}/{number // 1000:02d}/{number // 40 % 25:02d}"
        os.makedirs(folder, exist_ok=True)
        length = max(16, int(share * unit))
        path = f"{folder}/{number:05d}"
        if originals and content.random.random() < 0.2:
            # Of a few earlier files the one of the nearest size: a fifth of the bytes, too.
            few = content.random.choices(originals, k=64)
            nearest = min(few, key=lambda file: abs(file[1] - length))[0]
            with open(nearest, "rb") as file:
                write(path + ".copy", iter(lambda: file.read(MIB), b""), number)
            continue
        make = content.random.choice([content.text, content.noise])
        pieces = [min(4 * MIB, length - at) for at in range(0, length, 4 * MIB)]
        write(path, (make(piece) for piece in pieces), number)
        originals.append((path, length))


def files(directory):
    for folder, folders, names in os.walk(directory):
        folders.sort()
        yield from (os.path.join(folder, name) for name in sorted(names))


def churn(directory):
    """Changes files, and keeps what they were in DIR.kept beside the tree."""
    kept = directory.rstrip("/") + ".kept"
    os.makedirs(kept)
    paths = list(files(directory))
    content = Content("churn")
    undo = []
    for number, path in enumerate(content.random.sample(paths, max(1, len(paths) // 100))):
        if number % 4 == 0:
            os.rename(path, path + ".renamed")
            undo.append([path + ".renamed", path])
            continue
        original = f"{kept}/{number}"
        os.rename(path, original)
        undo.append([original, path])
        with open(original, "rb") as file:
            data = file.read()
        half, new = len(data) // 2, content.noise(max(64, min(len(data) // 10, MIB)))
        if number % 4 == 1:
            parts = [data, new]
        elif number % 4 == 2:
            parts = [data[:half], new[: len(data) - half], data[half + len(new) :]]
        else:
            parts = [data[:half], new[:100], data[half:]]
        write(path, parts, 10**6 + number)
    with open(f"{kept}/undo.json", "w") as file:
        json.dump(undo, file)


def restore(directory):
    kept = directory.rstrip("/") + ".kept"
    with open(f"{kept}/undo.json") as file:
        for now, before in json.load(file):
            os.replace(now, before)
    shutil.rmtree(kept)


def main(arguments):
    match arguments:
        case ["make", ("large" | "small" | "mixed") as name, scale, directory]:
            {"large": large, "small": small, "mixed": mixed}[name](directory, float(scale))
        case ["churn", directory]:
            churn(directory)
        case ["restore", directory]:
            restore(directory)
        case ["size", directory]:
            sizes = [os.path.getsize(path) for path in files(directory)]
            print(f"{len(sizes):,} files, {sum(sizes) / 1e6:,.0f} MB")
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
