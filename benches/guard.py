#!/usr/bin/env python3
"""Counts what drover does, so that a change that makes it do more is seen without a clock.

    benches/guard.py             compares with what benches/guard.tsv has; ends with 1 where it is more
    benches/guard.py --record    writes benches/guard.tsv

Each verb runs once under valgrind's cachegrind, on trees that corpus.py makes. Instructions are counted
for each stage, by the function they belong to, and requests as the verb's report has them. drover is
$DROVER, else target/release/drover. A repository draws its own secrets, so that no two runs cut and
compress quite alike: within two or three in a thousand instructions.

cachegrind stands for a processor with AVX2: counts do not depend on the machine, but on the compiler.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORD = HERE / "guard.tsv"
DROVER = os.environ.get("DROVER", HERE.parent / "target/release/drover")

# Costs the same whatever a verb does, and more than all else where the tree is as small as here.
PASSWORD = "password"
ALL = "all but the password"
# A stage is the first whose pattern a function's name has at its beginning.
STAGES = [
    (PASSWORD, r"argon2|<&mut \[argon2|blake2"),
    ("sign, agree", r"<*&?(<&)?(curve|ed|x)25519"),
    ("decompress", r"ZSTD_(decomp|DDict|getFrame|build|ldm_skip|find)|HUF_(decomp|read)|FSE_(decomp|read)|ZSTD_.*DCtx"),
    ("compress", r"ZSTD_|HUF_|FSE_|HIST_|drover_chunk::(compress|sample)"),
    ("cut", r"drover_chunk::|fastcdc"),
    ("hash", r"blake3"),
    ("encrypt", r"ring|_aes|aes|drover_crypt"),
    ("walk, read, write", r"<?drover_source"),
    ("state", r"<?redb"),
    ("copy, clear", r"__mem|_mem"),
    ("allocate", r"_int_|malloc|free|realloc|calloc|cfree|unlink_chunk"),
]
# How much more, of the count that is on record, is more: two shares.
TOLERANCE, TOLERANCE_OF_A_STAGE = 0.03, 0.10
# A stage below this share of its verb is not looked at alone.
LEAST_SHARE = 0.02
# How many requests more are chance: a pack more or less.
REQUESTS = 2


def stage_of(function):
    # Assembly of BLAKE3 has no names here; nothing else that counts has none.
    if function == "???":
        return "hash"
    return next((stage for stage, pattern in STAGES if re.match(pattern, function)), "everything else")


def count(work, name, arguments):
    """Instructions by stage, and requests."""
    out = work / "cachegrind"
    run = subprocess.run(
        ["valgrind", "-q", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={out}",
         DROVER, *arguments, "--progress", "none", "--json"],
        capture_output=True, text=True,
    )
    if run.returncode:
        sys.exit(f"{name}: {run.stderr}")
    counts, stage = Counter(), None
    for line in out.open(errors="replace"):
        if line.startswith("fn="):
            stage = stage_of(line[3:].strip())
        elif line[0].isdigit():
            counts[stage] += int(line.split()[1])
    counts[ALL] = counts.total() - counts[PASSWORD]
    counts = {f"{name}\t{stage}": number for stage, number in counts.items()}
    requests = json.loads(run.stdout).get("requests") or {}
    return counts | {f"{name}\trequests: {kind}": number for kind, number in requests.items()}


def measure():
    counts = {}
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        os.environ.update(DROVER_PASSWORD="guard", XDG_STATE_HOME=str(work / "state"), HOME=str(work))
        for corpus, scale in [("small", "0.01"), ("mixed", "0.01"), ("large", "0.01")]:
            source, repository = work / corpus, work / "repository"
            subprocess.run([HERE / "corpus.py", "make", corpus, scale, source], check=True)
            shutil.rmtree(repository, ignore_errors=True)
            subprocess.run([DROVER, "init", "--repo", repository], stdout=subprocess.DEVNULL, check=True)
            sync = ["sync", "--repo", repository, "--source", source]
            steps = [("baseline", sync), ("no change", sync)]
            if corpus == "small":
                steps.append(("1 % changed", sync))
            steps += [
                ("verify", ["verify", "--repo", repository, "--read-data"]),
                ("restore", ["restore", "--repo", repository, "latest", work / f"{corpus}-target"]),
            ]
            for step, arguments in steps:
                if step == "1 % changed":
                    subprocess.run([HERE / "corpus.py", "churn", source], check=True)
                print(f"{corpus}: {step}", file=sys.stderr)
                counts |= count(work, f"{corpus}\t{step}", arguments)
    return counts


def compare(counts, record):
    more = 0
    for name in sorted(record.keys() | counts.keys()):
        was, now = record.get(name, 0), counts.get(name, 0)
        whole = counts[name.rsplit("\t", 1)[0] + f"\t{ALL}"]
        if "requests: " in name:
            exceeds = now > was + REQUESTS
        elif name.endswith(ALL):
            exceeds = now > was * (1 + TOLERANCE)
        else:
            exceeds = now > was * (1 + TOLERANCE_OF_A_STAGE) and now - was > whole * LEAST_SHARE
        more += exceeds
        if exceeds or name.endswith(ALL):
            share = f"{now / was:.3f}" if was else "new"
            print("\t".join([name, str(was), str(now), share, "MORE" if exceeds else "ok"]))
    return more


def main():
    counts = measure()
    if "--record" in sys.argv[1:]:
        RECORD.write_text("".join(f"{name}\t{counts[name]}\n" for name in sorted(counts)))
        return 0
    lines = [line.rsplit("\t", 1) for line in RECORD.read_text().splitlines()]
    more = compare(counts, {name: int(number) for name, number in lines})
    print(f"{more} counts are more than they were" if more else "nothing is more than it was")
    return 1 if more else 0


if __name__ == "__main__":
    sys.exit(main())
