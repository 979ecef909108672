#!/usr/bin/env python3
"""What a disk makes somebody else wait while a command runs.

    latency.py FILE COMMAND [ARGUMENT …]

Reads 4 KiB at random places of FILE, past the page cache, one after the other with 2 ms between them, until
the command ends. Where it may, it runs before everything else, so that what it waits for is the disk and no
processor. Prints the command's wall seconds, how many reads there were, and of these the median, the
99th and 99.9th percentile and the longest, in milliseconds, as cells of a table. FILE is not changed.
"""

import mmap
import os
import random
import subprocess
import sys
import time

BLOCK = 4096
PAUSE = 0.002


def main(path, command):
    disk = os.open(path, os.O_RDONLY | os.O_DIRECT)
    blocks = os.fstat(disk).st_size // BLOCK
    places = random.Random(1)
    # O_DIRECT wants memory that begins at a page.
    buffer = mmap.mmap(-1, BLOCK)
    times = []
    begun = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except PermissionError:
            print("latency.py: may not run before others", file=sys.stderr)
        while running.poll() is None:
            before = time.monotonic()
            os.preadv(disk, [buffer], places.randrange(blocks) * BLOCK)
            times.append(time.monotonic() - before)
            time.sleep(PAUSE)
    wall = time.monotonic() - begun
    times.sort()
    at = lambda share: times[min(int(len(times) * share), len(times) - 1)] * 1000
    cells = [f"{wall:.1f}", f"{len(times)}"]
    cells += [f"{at(share):.2f}" for share in (0.5, 0.99, 0.999, 1)]
    print(" | ".join(cells))
    return running.returncode


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
