"""Makes the entries of a snapshot below a new directory, as root."""

import os
import stat

from codec import Damaged
from tree import CHARACTER, DEVICE, DIRECTORY, FIFO, FILE, SOCKET, SYMLINK, content, entries


def restore(packs, snapshot, target, problems):
    """`target` must not exist. Of a file whose content is damaged nothing is left."""
    target = os.fsencode(target)
    os.mkdir(target, 0o700)
    directories, links, lost = [], [], set()
    for entry in entries(packs, snapshot, problems):
        path = os.path.join(target, entry.path) if entry.path else target
        if entry.kind == DIRECTORY:
            if entry.path:
                os.mkdir(path, 0o700)
            directories.append((path, entry))
        elif entry.link:
            if entry.link not in lost:
                os.link(os.path.join(target, entry.link), path, follow_symlinks=False)
            else:
                problems.hurt(entry.path, "its first name is damaged")
        elif entry.kind == SYMLINK:
            links.append((path, entry))
        else:
            try:
                make(packs, snapshot, path, entry)
                attributes(path, entry)
            except Damaged as damage:
                os.unlink(path)
                lost.add(entry.path)
                problems.hurt(entry.path, damage)
    # Symlinks last, so that nothing is made through one.
    for path, entry in links:
        os.symlink(entry.target, path)
        attributes(path, entry)
    for path, entry in reversed(directories):
        attributes(path, entry)


def make(packs, snapshot, path, entry):
    if entry.kind == FILE:
        with open(path, "xb") as file:
            for offset, data in content(packs, snapshot.writer, entry):
                file.seek(offset)
                file.write(data)
            file.truncate(entry.size)
    elif entry.kind == FIFO:
        os.mkfifo(path)
    elif entry.kind == SOCKET:
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif entry.kind in (CHARACTER, DEVICE):
        kind = stat.S_IFCHR if entry.kind == CHARACTER else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(*entry.device))


def attributes(path, entry):
    # An owner takes away setuid and capabilities, so that it comes first.
    os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    for name, value in entry.xattrs:
        os.setxattr(path, name, value, follow_symlinks=False)
    if entry.kind != SYMLINK:
        os.chmod(path, entry.mode)
    os.utime(path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)
