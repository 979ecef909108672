#!/bin/bash
# What somebody else who reads the disk has to wait while a pass reads it: without drover, with it, with it in
# the polite mode, and with a limit on what it reads. Writes a dated table.
#
#   benches/polite.sh [-s SCALE] [-n ROUNDS] [-w DIR]
#
#   -s SCALE    how much of the corpora "large" and "small" (default 0.25: 1 GiB in 4 files, 25,000 files)
#   -n ROUNDS   default 3
#   -w DIR      where the corpora and the file of the other lie, on the disk in question (default benches/work)
#
# Repository and state lie in memory (/dev/shm), so that the pass only reads the disk; before each pass the
# corpus leaves the page cache. drover is $DROVER, else target/release/drover.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scale=0.25 rounds=3 work=$here/work
while getopts s:n:w:h option; do
  case $option in
    s) scale=$OPTARG ;; n) rounds=$OPTARG ;; w) work=$OPTARG ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
mkdir -p "$work" && work=$(cd "$work" && pwd)
drover=$(realpath "${DROVER:-$here/../target/release/drover}")
memory=$(mktemp -d /dev/shm/drover-polite.XXXXXX)
trap 'rm -rf "$memory"' EXIT
trap 'exit 130' INT TERM
export DROVER_PASSWORD=benchmark DROVER_STATE_DIR=$memory/state

say() { echo "$(date +%T) $*" >&2; }
other=$work/polite-other
[ -e "$other" ] || { say "the other's file is made"; head -c 1G /dev/urandom >"$other"; }
for corpus in large small; do
  [ -d "$work/polite-$corpus-$scale" ] || {
    say "$corpus is made"
    "$here/corpus.py" make "$corpus" "$scale" "$work/polite-$corpus-$scale" >/dev/null
  }
done
sync

# Takes a tree, and the other's file, out of the page cache.
forget() {
  python3 -c '
import os, sys
for top in sys.argv[1:]:
    trees = os.walk(top) if os.path.isdir(top) else [("", [], [top])]
    for folder, _, names in trees:
        for name in names:
            file = os.open(os.path.join(folder, name), os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)' "$@"
}

# The row of one command.
row() {
  local name=$1
  shift
  say "$name"
  echo "| $name | $("$here/latency.py" "$other" "$@") |"
}

# A first pass over a corpus, with more options.
pass() {
  local name=$1 corpus=$2
  shift 2
  rm -rf "$memory/state" "$memory/repository"
  "$drover" init --repo "$memory/repository" >/dev/null 2>&1
  forget "$work/polite-$corpus-$scale" "$other"
  row "$name" "$drover" sync --progress none --repo "$memory/repository" \
    --source "$work/polite-$corpus-$scale" "$@" 2>/dev/null
}

disk=$(df --output=source "$work" | tail -1 | xargs basename)
result=$here/results/$(date +%Y-%m-%dT%H%M)-polite.md
{
  echo "# Beside a pass on the same disk, $(date +%Y-%m-%d)"
  echo
  echo "$("$drover" --version), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg) before, disk $disk with"
  echo "the scheduler $(grep -o '\[.*\]' "/sys/class/block/$disk/queue/scheduler" 2>/dev/null || echo unknown)."
  echo "Another process reads 4 KiB at random places of a file of 1 GiB on the same disk, past the page cache, with"
  echo "2 ms between reads, and before all others where the processor is concerned. Milliseconds of its reads. The"
  echo "corpus is not in the page cache, the repository is in memory."
  for corpus in large small; do
    echo
    echo "## First passes over \`$corpus\` ($("$here/corpus.py" size "$work/polite-$corpus-$scale" | tail -1))"
    echo
    echo "| | pass, s | reads | median | 99 % | 99.9 % | longest |"
    echo "| --- | --- | --- | --- | --- | --- | --- |"
    for _ in $(seq "$rounds"); do
      row "no pass" sleep 8
      pass pass "$corpus"
      pass polite "$corpus" --polite
      pass "polite, 50 MiB/s" "$corpus" --polite --read-rate "50 MiB/s"
    done
  done
} >"$memory/result"
cp "$memory/result" "$result"
say "written to $result"
