"""The algorithms of suite 1 (format.md, "Algorithms", "Merkle trees")."""

import hmac
import struct

import zstandard
from blake3 import blake3
from codec import Damaged, require
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# The y of Ed25519's points of small order, and the field's prime.
PRIME = 2**255 - 19
SMALL = {0, 1, PRIME - 1} | {
    int.from_bytes(bytes.fromhex(y), "little")
    for y in (
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
}


def digest(data):
    return blake3(data).digest()


def derive(context, *parts):
    hasher = blake3(derive_key_context="drover 2026-11 " + context)
    for part in parts:
        hasher.update(struct.pack("<Q", len(part)) + part)
    return hasher.digest()


def keyed(key, data):
    return blake3(data, key=key).digest()


def check_commitment(key, stored, message="the commitment is another key's"):
    require(hmac.compare_digest(derive("key commitment", key), stored), message)


def decrypt(key, counter, ciphertext, additional):
    try:
        return AESGCM(key).decrypt(struct.pack("<IQ", 0, counter), ciphertext, additional)
    except (InvalidTag, ValueError):
        raise Damaged("the tag does not fit") from None


def unwrap(key, context, wrapped):
    check_commitment(key, wrapped[:32])
    return decrypt(key, 0, wrapped[32:], context + wrapped[:32])


def public_of(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def unseal(reader, info, sealed):
    """`reader` is an X25519 secret and a pre-shared key."""
    require(len(sealed) >= 80, "a seal that is too short")
    secret, psk = reader
    ephemeral = sealed[:32]
    try:
        public = X25519PublicKey.from_public_bytes(ephemeral)
        shared = X25519PrivateKey.from_private_bytes(secret).exchange(public)
    except ValueError:
        raise Damaged("a public key of low order") from None
    key = derive("seal key", shared, ephemeral, public_of(secret), psk, info)
    check_commitment(key, sealed[32:64])
    return decrypt(key, 0, sealed[64:], info)


def check_point(encoded):
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    require(y < PRIME and y not in SMALL, "a key or signature of small order or not canonical")


def signed(key, context, data):
    """What stands before the signature that `data` ends in."""
    message, signature = data[:-64], data[-64:]
    context = b"drover 2026-11 " + context.encode()
    try:
        check_point(key)
        check_point(signature[:32])
        hashed = digest(struct.pack("<Q", len(context)) + context + message)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, hashed)
    except (InvalidSignature, ValueError):
        raise Damaged("the signature does not hold") from None
    return message


def decompress(data, length):
    """Exactly one zstd frame of exactly this length."""
    try:
        require(data[:4] == b"\x28\xb5\x2f\xfd", "no zstd frame")
        require(zstandard.get_frame_parameters(data).dict_id == 0, "zstd with a dictionary")
        # No more is taken out than one byte beside the length, whatever the frame asks for.
        plain = zstandard.ZstdDecompressor().stream_reader(data).read(length + 1)
        require(len(plain) == length, "zstd of another length")
        rest = zstandard.ZstdDecompressor().decompressobj()
        rest.decompress(data)
        require(rest.eof and not rest.unused_data, "something after the zstd frame")
        return plain
    except zstandard.ZstdError as error:
        raise Damaged(f"zstd: {error}") from None


def plain_leaf(data):
    return digest(b"\0" + data)


class Tree:
    """The right edge of a tree: roots of full subtrees, the largest first."""

    def __init__(self, count=0, edge=()):
        self.count, self.edge = count, list(edge)

    @classmethod
    def read(cls, reader):
        count = reader.varint()
        return cls(count, [reader.take(32) for _ in range(count.bit_count())])

    def add(self, leaf):
        rest = self.count
        while rest & 1:
            leaf = digest(b"\1" + self.edge.pop() + leaf)
            rest >>= 1
        self.edge.append(leaf)
        self.count += 1

    def root(self):
        if not self.edge:
            return digest(b"")
        root = self.edge[-1]
        for left in reversed(self.edge[:-1]):
            root = digest(b"\1" + left + root)
        return root

    def __eq__(self, other):
        return (self.count, self.edge) == (other.count, other.edge)
