#!/usr/bin/env python3
"""Opens keys.json by docs/format-keys.md alone, sharing no code with drover.

Needs `pip install blake3 cryptography argon2-cffi`. Exits 0 where everything is as the file says.
"""

import json
import pathlib
import struct

from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ROLES = ["owner", "reader", "auditor"]
KINDS = ["passphrase", "key-file", "identity"]


def derive(context, parts):
    hasher = blake3(derive_key_context=context)
    for part in parts:
        hasher.update(struct.pack("<Q", len(part)) + part)
    return hasher.digest()


def commitment(key):
    return derive("drover 2026-11 key commitment", [key])


def verify(root, context, message, signature):
    context = context.encode()
    digest = blake3(struct.pack("<Q", len(context)) + context + message).digest()
    Ed25519PublicKey.from_public_bytes(root).verify(signature, digest)


def signed(root, context, data):
    verify(root, context, data[:-64], data[-64:])
    return data[:-64]


def unwrap(key, context, wrapped):
    assert wrapped[:32] == commitment(key), "another key"
    return AESGCM(key).decrypt(bytes(12), wrapped[32:], context + wrapped[:32])


def exchange(secret, public):
    return X25519PrivateKey.from_private_bytes(secret).exchange(
        X25519PublicKey.from_public_bytes(public)
    )


def public_of(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def unseal(secret, psk, info, sealed):
    ephemeral, wrapped = sealed[:32], sealed[32:]
    shared = exchange(secret, ephemeral)
    key = derive("drover 2026-11 seal key", [shared, ephemeral, public_of(secret), psk, info])
    assert wrapped[:32] == commitment(key), "another key"
    return AESGCM(key).decrypt(bytes(12), wrapped[32:], info)


class Reader:
    def __init__(self, data, magic=None):
        self.data, self.at = data, 0
        if magic:
            assert self.take(10) == magic + b"\1\1", magic

    def take(self, count):
        assert self.at + count <= len(self.data), "too short"
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count):
        return int.from_bytes(self.take(count), "little")

    def varint(self):
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def bytes(self):
        return self.take(self.varint())

    def before(self):
        return self.data[: self.at]

    def end(self):
        assert self.at == len(self.data), "data is left over"


def open_slot(data, kind, secret):
    """Kind, role, slot key, label key's salt, sealed label."""
    r = Reader(data, b"DRVRSLOT")
    r.take(16)
    slot_id, stored_kind, role = r.take(8), r.number(1), r.number(1)
    r.varint(), r.varint()
    memory, passes, lanes = r.number(4), r.number(4), r.number(4)
    salt, recipient, ephemeral = r.take(32), r.take(32), r.take(32)
    assert KINDS[stored_kind] == kind
    first = {
        "passphrase": lambda: hash_secret_raw(secret, salt, passes, memory, lanes, 32, Type.ID),
        "key-file": lambda: secret,
        "identity": lambda: exchange(secret, ephemeral),
    }[kind]()
    parts = [bytes([stored_kind]), first, salt]
    if kind == "identity":
        assert public_of(secret) == recipient
        parts += [ephemeral, recipient]
    header = r.before()
    slot_key = unwrap(derive("drover 2026-11 slot wrapping key", parts), header, r.take(80))
    label_key = derive("drover 2026-11 slot label key", [slot_key, salt])
    label = unwrap(label_key, slot_id, r.bytes()).decode()
    r.end()
    return slot_id, role, slot_key, label


def open_box(data, slot_key, role, escrow_check):
    r = Reader(data, b"DRVRSBOX")
    r.take(16)
    number = r.number(4)
    r.take(8)
    assert r.number(1) == role
    r.take(32)
    header = r.before()
    plain = Reader(
        unwrap(derive("drover 2026-11 slot box key", [slot_key, header]), header, r.bytes())
    )
    escrow = r.take(80)
    r.end()
    content = {"root": plain.take(32), "meta": (plain.take(32), plain.take(32))}
    if role < 2:
        content["data"] = (plain.take(32), plain.take(32))
    if role == 0:
        content["seed"], content["owner"] = plain.take(32), plain.take(32)
    plain.end()
    escrow_check.append((number, header, escrow, slot_key))
    return number, content


def main():
    file = json.loads(pathlib.Path(__file__).with_name("keys.json").read_text())
    h = bytes.fromhex
    config, objects = h(file["config"]), {n: h(b) for n, b in file["objects"].items()}
    r = Reader(config, b"DRVRCONF")
    keys = f"keys/{r.take(16).hex()}"
    root = r.take(32)
    signed(root, "drover 2026-11 config", config)
    assert root.hex() == file["root_public"]

    escrows, owner_keys, meta_readers, data_readers = [], {}, {}, {}
    for case in file["opens"]:
        name = case["slot"]
        slot = signed(root, "drover 2026-11 slot", objects[f"{keys}/slot-{name}"])
        slot_id, role, slot_key, label = open_slot(slot, case["kind"], h(case["secret"]))
        assert slot_id.hex() == name and label == case["label"]
        assert ROLES[role] == case["opened"]["role"]
        for epoch in case["opened"]["epochs"]:
            n = epoch["number"]
            box = signed(root, "drover 2026-11 slot box", objects[f"{keys}/epoch-{n}-{name}"])
            number, content = open_box(box, slot_key, role, escrows)
            assert number == n and content["root"] == root
            public = signed(root, "drover 2026-11 epoch", objects[f"{keys}/epoch-{n}"])[30:]
            for reader, stored in [("data", public[:32]), ("meta", public[32:])]:
                expected = epoch[reader]
                assert (reader in content) == (expected is not None)
                if expected:
                    secret, psk = content[reader]
                    assert (secret.hex(), psk.hex()) == (expected["x25519"], expected["psk"])
                    assert public_of(secret) == stored
            meta_readers[n] = content["meta"]
            data_readers.setdefault(n, content.get("data"))
            if role == 0:
                owner_keys[n] = content["owner"]
    for number, header, escrow, slot_key in escrows:
        key = derive("drover 2026-11 escrow key", [owner_keys[number], header])
        assert unwrap(key, header, escrow) == slot_key

    grant = file["grant"]
    body = signed(root, "drover 2026-11 grant", objects[grant["object"]])
    r = Reader(body, b"DRVRGRNT")
    r.take(16)
    writer, public, seal_key = r.take(16), r.take(32), r.take(32)
    domain, epoch = r.take(16), r.number(4)
    r.varint(), r.varint()
    info = r.before()
    plain = Reader(unseal(*meta_readers[epoch], info, r.bytes()))
    to_writer_info, to_writer = r.before(), r.take(208)
    r.end()
    assert grant["object"] == f"{keys}/writer-{writer.hex()}-{epoch}"
    secret, label = plain.take(32), plain.bytes().decode()
    assert blake3(public).digest()[:16] == writer == h(grant["writer"])
    assert derive("drover 2026-11 domain id", [secret])[:16] == domain
    assert (secret.hex(), label) == (grant["domain_secret"], grant["label"])
    r = Reader(h(file["credential"]), b"DRVRCRED")
    seed = r.take(32)
    assert (r.take(32), r.bytes(), r.take(32)) == (root, objects[grant["object"]], secret)
    assert blake3(r.before()).digest() == r.take(32)
    r.end()
    opening = derive("drover 2026-11 writer seal secret", [seed])
    assert public_of(opening) == seal_key
    psk = derive("drover 2026-11 writer seal psk", [secret])
    plain = Reader(unseal(opening, psk, to_writer_info, to_writer))
    for reader_secret, reader_psk in [data_readers[epoch], meta_readers[epoch]]:
        assert (plain.take(32), plain.take(32)) == (public_of(reader_secret), reader_psk)
    plain.end()
    revoked = signed(root, "drover 2026-11 revocation", objects[f"{keys}/revoked-{writer.hex()}"])
    assert revoked[26:] == writer + struct.pack("<Q", grant["last_sequence"])

    p = file["primitives"]
    key = derive(p["derive"]["context"], [h(part) for part in p["derive"]["parts"]])
    assert key.hex() == p["derive"]["key"] and commitment(key).hex() == p["derive"]["commitment"]
    s = p["seal"]
    assert unseal(h(s["x25519"]), h(s["psk"]), h(s["info"]), h(s["sealed"])) == h(s["plaintext"])
    s = p["sign"]
    verify(h(s["public"]), s["context"], h(s["message"]), h(s["signature"]))

    d = p["domain"]
    keyed = lambda purpose, data, *kind: blake3(
        data, key=derive(f"drover 2026-11 domain {purpose}", [secret, *kind])
    )
    for kind, chunk_id in enumerate(d["chunk_ids"]):
        assert keyed("chunk names", h(d["content"]), bytes([kind])).hexdigest() == chunk_id
    gear = keyed("gear table", b"").digest(length=2048)
    assert [gear[:8].hex(), gear[-8:].hex()] == d["gear_table"]
    assert keyed("manifest blocks", h(d["path"])).digest()[:8].hex() == d["path_hash"]
    assert keyed("leaf salts", h(d["leaf"])).hexdigest() == d["leaf_salt"]
    assert keyed("source names", h(d["source"])).digest()[:16].hex() == d["source_id"]

    m = p["merkle"]
    leaves = [blake3(b"\0" + h(leaf)).digest() for leaf in m["plain_leaves"]]

    def tree(hashes):
        if len(hashes) == 1:
            return hashes[0]
        k = 1
        while k * 2 < len(hashes):
            k *= 2
        return blake3(b"\1" + tree(hashes[:k]) + tree(hashes[k:])).digest()

    assert tree(leaves).hex() == m["root"]
    expected = [leaves[5], leaves[6], tree(leaves[:4])]
    assert [node.hex() for node in expected] == m["proof"] and m["index"] == 4
    print("keys.json: everything opens as the document says")


main()
