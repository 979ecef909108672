#!/usr/bin/env bash
# The memory that verbs take where there is very much of something: files, entries of one directory,
# bytes of one file. Prints and keeps peak resident sets, which hold on any machine; times stand
# beside them for the shape of it only.
#
#   benches/memory.sh                a million files, a directory of a million, a file of 1 TiB
#   benches/memory.sh 100000         with a hundred thousand instead of the millions
#   benches/memory.sh 1000000 linked one of the corpora alone
#
# Wants GNU time, python3, about 5 GB below ${TMPDIR:-/tmp}, and target/release/drover (or $DROVER).
set -euo pipefail
cd "$(dirname "$0")/.."

count=${1:-1000000}
corpora=${2:-many wide sparse linked}
drover=${DROVER:-$PWD/target/release/drover}
work=$(mktemp -d "${TMPDIR:-/tmp}/drover-memory.XXXXXX")
trap 'rm -rf "$work"' EXIT
export DROVER_STATE_DIR=$work/state DROVER_PASSWORD=memory
result=benches/results/$(date -u +%Y-%m-%dT%H%M)-memory.md

python3 - "$work" "$count" <<'PYTHON'
import os, sys
work, count = sys.argv[1], int(sys.argv[2])
# Many files: a thousand to a directory, 100 bytes each, no two the same.
for number in range(count):
    folder = f"{work}/many/{number // 1000:05}"
    if number % 1000 == 0:
        os.makedirs(folder)
    with open(f"{folder}/{number:07}.txt", "wb", buffering=0) as file:
        file.write(b"record %07d of many " % number * 4)
# One directory with as many entries.
os.makedirs(f"{work}/wide/one")
for number in range(count):
    os.close(os.open(f"{work}/wide/one/{number:07}-{number * 2654435761 % 2**32:08x}", os.O_CREAT))
# One file of 1 TiB, with data at its begin, here and there, and at its end.
os.makedirs(f"{work}/sparse")
with open(f"{work}/sparse/disk.img", "wb") as file:
    for place in range(0, 1 << 40, 1 << 35):
        file.seek(place)
        file.write(os.urandom(1 << 20))
    file.truncate(1 << 40)
# Every file under two names: what is kept of first names until the last.
os.makedirs(f"{work}/linked/a")
os.makedirs(f"{work}/linked/b")
for number in range(count):
    name = f"{work}/linked/a/{number:07}"
    os.close(os.open(name, os.O_CREAT))
    os.link(name, f"{work}/linked/b/{number:07}")
PYTHON

measure() { # corpus, what, command…
    local corpus=$1 what=$2
    shift 2
    /usr/bin/time -f '%M %e %U %S' -o "$work/time" "$@" >/dev/null 2>"$work/errors" || {
        cat "$work/errors" >&2
        exit 1
    }
    read -r kib wall user system <"$work/time"
    printf '| %s | %s | %s | %s | %s |\n' "$corpus" "$what" $((kib / 1024)) "$wall" \
        "$(echo "$user $system" | awk '{print $1 + $2}')" | tee -a "$result"
}

mkdir -p benches/results
cat >"$result" <<END
# $(date -u +%Y-%m-%d): peak memory

$("$drover" --version), $(nproc) processors, load average at the start $(cut -d' ' -f1-3 /proc/loadavg). Written by
\`benches/memory.sh $count\`: \`many\` is $count files of 80 bytes, \`wide\` one directory of $count
empty files, \`sparse\` a file of 1 TiB with 32 MiB of data, \`linked\` $count files of two names, the second ones after all the first.

| corpus | verb | peak MiB | wall s | CPU s |
| --- | --- | --- | --- | --- |
END
for corpus in $corpora; do
    repository=$work/repository-$corpus
    verb() { "$drover" "$1" --repo "$repository" --progress none "${@:2}"; }
    verb init >/dev/null 2>&1
    run() { measure "$corpus" "$1" "$drover" "$2" --repo "$repository" --progress none "${@:3}"; }
    run "baseline" sync --source "$work/$corpus"
    run "no change" sync --source "$work/$corpus"
    run "verify --read-data" verify --read-data
    run "verify --source" verify --source "$work/$corpus"
    run "restore" restore latest "$work/restored"
    run "restore again" restore latest "$work/restored"
    rm -rf "$work/restored" "$repository"
done
echo "$result"
