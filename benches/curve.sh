#!/usr/bin/env bash
# How processor time and memory grow with the work: from 1,000 to a million files, from 1 to 64 GiB.
# Prints and keeps both, and the slopes: the power of the size that the time grows with, from each size to
# the next. 1 is in proportion; less, where what is the same for any size still shows.
#
#   benches/curve.sh                       all of it; takes a quarter of an hour
#   benches/curve.sh files 1000 10000      these numbers of files
#   benches/curve.sh bytes 1 4             these numbers of GiB
#
# Files are 1 KiB of text, 100 to a directory, no two the same. Bytes come from a command, as the dump of a
# database does: one GiB of text, its letters exchanged for others each time, so that nothing comes twice.
# Nothing is measured of the command. Wants GNU time, python3, target/release/drover (or $DROVER), and below
# ${TMPDIR:-/tmp} 10 GB for a million files, and a third of the bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-both}
[ $# -eq 0 ] || shift
drover=$(realpath "${DROVER:-target/release/drover}")
work=$(mktemp -d "${TMPDIR:-/tmp}/drover-curve.XXXXXX")
trap 'rm -rf "$work"' EXIT
export DROVER_PASSWORD=curve
result=benches/results/$(date -u +%Y-%m-%dT%H%M)-curves.md
raw=$work/raw.tsv

measure() { # size, verb, command…
    local size=$1 verb=$2
    shift 2
    /usr/bin/time -q -f '%e\t%U\t%S\t%M' -o "$work/time" "$@" >/dev/null 2>"$work/errors" || {
        cat "$work/errors" >&2
        exit 1
    }
    printf '%s\t%s\t%s\n' "$size" "$verb" "$(cat "$work/time")" | tee -a "$raw"
}

fresh() { # size: a new repository
    rm -rf "$work/repository" "$work/state" "$work/target"
    export DROVER_STATE_DIR=$work/state
    "$drover" init --repo "$work/repository" >/dev/null 2>&1
}

files() {
    local count
    for count in "$@"; do
        python3 - "$work/source" "$count" <<'PYTHON'
import os, random, sys
folder, count = sys.argv[1], int(sys.argv[2])
words = [str(number).encode() for number in range(10_000)]
for number in range(count):
    if number % 100 == 0:
        place = f"{folder}/{number // 100:05}"
        os.makedirs(place)
    text = b"%07d " % number + b" ".join(random.Random(number).choices(words, k=220))
    with open(f"{place}/{number:07}.txt", "wb", buffering=0) as file:
        file.write(text[:1024])
    os.utime(f"{place}/{number:07}.txt", (1_700_000_000, 1_700_000_000))
PYTHON
        fresh
        run() { measure "$count" "$1" "$drover" "$2" --repo "$work/repository" --progress none "${@:3}"; }
        run baseline sync --source "$work/source"
        run "no change" sync --source "$work/source"
        run verify verify
        run "verify, read back" verify --read-data
        run restore restore latest "$work/target"
        rm -rf "$work/source" "$work/target"
    done
}

bytes() {
    local size
    python3 - "$work/text" <<'PYTHON'
import random, sys
draw = random.Random(1)
letters = "etaoinshrdlucmfwypvbgkjqxz"
words = ["".join(draw.choices(letters, range(26, 0, -1), k=draw.randint(2, 10))) + " " for _ in range(256)]
with open(sys.argv[1], "w") as file:
    left = 1 << 30
    while left:
        text = "".join(draw.choices(words, k=200_000))[:left]
        left -= file.write(text)
PYTHON
    cat >"$work/print" <<'END'
#!/usr/bin/env bash
# print TEXT TIMES: the text that often, with other letters each time
alphabet=abcdefghijklmnopqrstuvwxyz
for ((turn = 0; turn < $2; turn++)); do
    shift_by=$((turn % 26)) upper=$((turn / 26))
    to=${alphabet:shift_by}${alphabet:0:shift_by}
    case $upper in 1) to=${to^^} ;; 2) to=$(rev <<<"$to") ;; esac
    tr "$alphabet" "$to" <"$1"
done
END
    chmod +x "$work/print"
    for size in "$@"; do
        fresh
        cat >"$work/plan.toml" <<END
[repository]
url = "$work/repository"

[[source]]
name = "dump"
command = ["$work/print", "$work/text", "$size"]
file = "dump.sql"
END
        measure "$size GiB" baseline "$drover" sync "$work/plan.toml" --progress none
        measure "$size GiB" "verify, read back" "$drover" verify --repo "$work/repository" --read-data --progress none
    done
}

case $what in
files) files "${@:-1000}" ;;
bytes) bytes "${@:-1}" ;;
both)
    files 1000 10000 100000 1000000
    bytes 1 4 16 64
    ;;
*)
    sed -n '2,14s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
{
    echo "# $(date -u +%Y-%m-%d): how processor time and memory grow"
    echo
    echo "$("$drover" --version), $(nproc) processors, load average at the end $(cut -d' ' -f1-3 /proc/loadavg). Written by"
    echo "\`benches/curve.sh\`, which says what the files and the bytes are. Of the bytes' baselines the command's own"
    echo "processor time is part. The slope is that of the processor time to the line above: 1 is in proportion."
    python3 - "$raw" <<'PYTHON'
import math, sys
from collections import defaultdict
curves = defaultdict(list)
for line in open(sys.argv[1]):
    size, verb, wall, user, system, peak = line.rstrip("\n").split("\t")
    unit = "GiB" if "GiB" in size else "files"
    curves[unit, verb].append((int(size.split()[0]), float(wall), float(user) + float(system), int(peak) // 1024))
for (unit, verb), rows in curves.items():
    print(f"\n## {verb}, by {unit}\n")
    print(f"| {unit} | wall s | CPU s | slope | peak MiB |\n| --- | --- | --- | --- | --- |")
    before = None
    for size, wall, cpu, peak in rows:
        slope = f"{math.log(cpu / before[1]) / math.log(size / before[0]):.2f}" if before and before[1] else ""
        print(f"| {size:,} | {wall:.2f} | {cpu:.2f} | {slope} | {peak} |")
        before = size, cpu
PYTHON
} >"$result"
echo "$result"
