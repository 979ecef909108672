#!/usr/bin/env python3
"""What `drover plan` foretells beside what the first pass then does: bytes stored and sent, requests, time,
and the entries that cannot be read. Prints and keeps a table, with what each figure is off by.

    benches/estimates.py                  three trees of this machine: sources, programs, a server's own files
    benches/estimates.py DIRECTORY ...    these trees instead
    --seed NUMBER                         which sample is drawn; else by chance, and the table says which
    --sample SIZE                         how much of each is read for it (512 MiB)
    --store URL                           where repositories go: a directory, or a bucket's s3:// address

The three trees are nobody's choice for this: what cargo has unpacked, /usr/lib, and copies of /etc, /var/lib
and /usr/share, looked at by an account that may not read all of them, where the script runs as root. Each tree
is read once before, so that its pages are in memory both times. Wants target/release/drover (or $DROVER), and
room below ${TMPDIR:-/tmp} for what is stored of the trees.
"""

import argparse
import datetime
import json
import os
import pathlib
import pwd
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The targets: bytes and requests within 5 %, time within 25 %.
MOST = {"stored": 5, "sent": 5, "requests": 5, "seconds": 25, "exceptions": 0}
SERVER = ["/etc", "/var/lib", "/usr/share"]


def copy_of_a_server(folder):
    """With owners and modes, so that some of it is closed to others."""
    for place in SERVER:
        target = folder / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", place, target], check=True)


def warm(tree):
    for folder, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb", buffering=0) as file:
                    while file.read(1 << 20):
                        pass


def drover(arguments, environment, user):
    """What a verb prints as JSON; 3 says that entries could not be read."""
    command = [os.environ.get("DROVER", str(ROOT / "target/release/drover")), *arguments]
    if user is not None:
        command = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *command]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)}\n{done.stderr.decode(errors='replace')}")
    return json.loads(done.stdout) if "--json" in arguments else None


def compare(name, tree, work, options, user):
    environment = dict(os.environ, DROVER_PASSWORD="estimates", DROVER_STATE_DIR=str(work / "state"))
    store = options.store or str(work)
    repository = f"{store}/{name}"
    for folder in [work / "state", work / name]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
    warm(tree)
    drover(["init", "--repo", repository], environment, user)
    at = ["--repo", repository, "--source", str(tree), "--json"]
    sample = ["--sample", options.sample, "--seed", str(options.seed), "--probe-upload"]
    told = drover(["plan", *at, *sample], environment, user)
    done = drover(["sync", *at], environment, user)
    shutil.rmtree(work / name)
    estimate = told["estimate"]
    paths = lambda report: sorted(row["path"] for row in report["exceptions"])
    figures = {
        "stored": (estimate["stored"], done["bytes"]["stored"]),
        "sent": (estimate["uploaded"], done["bytes"]["uploaded"]),
        "requests": (estimate["requests"], done["requests"]["put"]),
        "seconds": (estimate["baseline_seconds"]["p50"], done["seconds"]),
        "exceptions": (len(paths(told)), len(paths(done))),
    }
    same = paths(told) == paths(done)
    for row in told["exceptions"] if not same else []:
        if row["path"] not in paths(done):
            print(f"foretold only: {row}", file=sys.stderr)
    for row in done["exceptions"] if not same else []:
        if row["path"] not in paths(told):
            print(f"met only: {row}", file=sys.stderr)
    part = estimate["sampled_bytes"] / max(estimate["read"], 1)
    print(f"{name}: {estimate['read'] / 1e6:.0f} MB, of which {part:.0%} was read for it", file=sys.stderr)
    return estimate["read"], part, figures, same


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="*", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--sample", default="512 MiB")
    parser.add_argument("--store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drover-estimates.") as folder:
        work = pathlib.Path(folder)
        work.chmod(0o755)
        trees = [(tree.name, tree.resolve(), None) for tree in options.trees]
        if not trees:
            cargo = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
            copy_of_a_server(work / "copy")
            user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
            trees = [
                ("sources", cargo / "registry/src", None),
                ("programs", pathlib.Path("/usr/lib"), None),
                ("server", work / "copy", user),
            ]
        compared = [(name, compare(name, tree, work, options, user)) for name, tree, user in trees]

    now = datetime.datetime.now(datetime.UTC)
    lines = [
        f"# Foretold and done, {now:%Y-%m-%d %H:%M} UTC",
        "",
        f"`benches/estimates.py`, seed {options.seed}, {options.sample} of each tree read for the estimate, load "
        f"{os.getloadavg()[0]:.1f}.",
        "",
        "| tree | read for it | what | foretold | done | off by | at most |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    missed = 0
    for name, (size, part, figures, same) in compared:
        for what, (told, is_) in figures.items():
            off = 0 if told == is_ else (told - is_) / is_ * 100 if is_ else float("inf")
            # Of few requests one is more than that.
            near = what == "requests" and abs(told - is_) <= 1
            missed += (abs(off) > MOST[what] and not near) or (what == "exceptions" and not same)
            form = ",.2f" if what == "seconds" else ",d"
            note = f"{off:+.1f} %" if what != "exceptions" else "the same entries" if same else "other entries"
            tree = f"{name}, {size / 1e6:,.0f} MB | {part:.0%}" if what == "stored" else " | "
            lines.append(f"| {tree} | {what} | {told:{form}} | {is_:{form}} | {note} | {MOST[what]} % |")
    print("\n".join(lines))
    result = ROOT / "benches/results" / f"{now:%Y-%m-%dT%H%M}-estimates.md"
    result.write_text("\n".join(lines) + "\n")
    print(f"\n{missed} are off by more; {result.relative_to(ROOT)}", file=sys.stderr)


main()
