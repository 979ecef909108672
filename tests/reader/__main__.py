"""Reads a repository by docs/format.md and docs/format-keys.md alone, sharing no code with drover.

    python3 tests/reader check DIRECTORY
    python3 tests/reader list DIRECTORY
    python3 tests/reader restore DIRECTORY SNAPSHOT TARGET

SNAPSHOT is an id, or `latest`. The password is in DROVER_PASSWORD, or in the file that
DROVER_PASSWORD_FILE names. One JSON document on stdout names the damaged objects and files; exit
code 0 where nothing is damaged, 1 where something is, 2 where the repository cannot be opened.
tests/services/install makes an environment with the packages that this needs.
"""

import argparse
import json
import os
import pathlib
import sys

from codec import Damaged, Objects, Problems, require
from history import History
from keys import Keys, WrongPassword
from packs import Packs
from restore import restore
from tree import FILE, content, entries


def shown(path):
    return path.decode("utf-8", "backslashreplace")


def password():
    if file := os.environ.get("DROVER_PASSWORD_FILE"):
        return pathlib.Path(file).read_bytes().removesuffix(b"\n")
    return os.environb[b"DROVER_PASSWORD"]


def check(packs, snapshot, problems):
    """Reads every file; what it says of each."""
    listed = []
    for entry in entries(packs, snapshot, problems):
        listed.append({"path": shown(entry.path), "kind": entry.kind})
        if entry.kind == FILE:
            listed[-1] |= {"size": entry.size, "hash": entry.hash.hex()}
            try:
                for _ in content(packs, snapshot.writer, entry):
                    pass
            except Damaged as damage:
                problems.hurt(entry.path, damage)
    return listed


def main():
    parser = argparse.ArgumentParser(description="An independent reader of repositories.")
    parser.add_argument("verb", choices=["check", "list", "restore"])
    parser.add_argument("directory")
    parser.add_argument("snapshot", nargs="?", default="latest")
    parser.add_argument("target", nargs="?")
    arguments = parser.parse_args()

    problems, answer = Problems(), {}
    objects = Objects(arguments.directory)
    try:
        keys = Keys(objects, password(), problems)
        history = History(objects, keys, problems)
        packs = Packs(objects, keys, history.packs, problems)
        if arguments.verb == "check":
            for snapshot in history.snapshots:
                check(packs, snapshot, problems)
        else:
            chosen = [
                snapshot
                for snapshot in history.snapshots
                if arguments.snapshot == "latest" or snapshot.id.hex().startswith(arguments.snapshot)
            ]
            require(chosen, "no such snapshot")
            if arguments.verb == "list":
                answer["entries"] = check(packs, chosen[-1], problems)
            else:
                restore(packs, chosen[-1], arguments.target, problems)
        answer["snapshots"] = [snapshot.id.hex() for snapshot in history.snapshots]
    except WrongPassword:
        for name, what in problems.objects.items():
            print(f"{name}: {what}", file=sys.stderr)
        print("the password opens no slot", file=sys.stderr)
        sys.exit(2)
    except Damaged as damage:
        print(f"the repository does not open: {damage}", file=sys.stderr)
        sys.exit(2)
    answer["objects"] = problems.objects
    answer["files"] = {shown(path): what for path, what in problems.files.items()}
    print(json.dumps(answer))
    sys.exit(1 if problems.objects or problems.files else 0)


if __name__ == "__main__":
    main()
