#!/usr/bin/env bash
# A first landing beside `cp -a` of the same tree, and landings of 1 % churn beside a walk of the target.
# Prints Markdown. Usage: benches/landing.sh [FILES] [ROUNDS]; takes the release build, in a directory of
# its own on the file system of TMPDIR.
set -euo pipefail
cd "$(dirname "$0")/.."
files=${1:-100000} rounds=${2:-3}
drover="$PWD/target/release/drover"
lab=$(mktemp -d)
follower=
trap '[ -z "$follower" ] || kill -TERM "$follower" 2>/dev/null || true; wait; rm -rf "$lab"' EXIT
cd "$lab"
export DROVER_STATE_DIR="$lab/state" DROVER_PASSWORD=bench

python3 - "$files" <<'END'
import os, random, sys
draw = random.Random(1)
for number in range(int(sys.argv[1])):
    folder = f"source/{number % 40}/{number % 1000}"
    if number < 1000:
        os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{number}", "wb") as file:
        file.write(draw.randbytes(draw.choice([300, 1500, 4000, 9000, 20000])))
END
now() { date +%s.%N; }
took() { python3 -c "print(f'{$(now) - $1:.2f}')"; }
landed() { # waits until the mark names the newest snapshot, whole
    local newest
    newest=$("$drover" snapshots --repo repository --json 2>/dev/null |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["snapshots"][-1]["id"])')
    until grep -q "snapshot $newest whole" target/.drover-restore 2>/dev/null &&
        [ "$(tail -n 1 target/.drover-restore)" = complete ]; do sleep 0.1; done
}
"$drover" init --repo repository >/dev/null 2>&1
"$drover" sync --repo repository --source source >/dev/null 2>&1
"$drover" restore --repo repository latest target --follow --poll 1h --json --progress none >landings.json &
follower=$!
landed
walks=()
for round in $(seq "$rounds"); do
    python3 - "$files" "$round" <<'END'
import os, random, sys
files, round = int(sys.argv[1]), int(sys.argv[2])
draw = random.Random(round)
for number in draw.sample(range(files), files // 100):
    with open(f"source/{number % 40}/{number % 1000}/{number}", "wb") as file:
        file.write(draw.randbytes(5000))
END
    "$drover" sync --repo repository --source source >/dev/null 2>&1
    begun=$(now); find target -printf '%s %T@ %C@ %U %m\n' >/dev/null; walks+=("$(took "$begun")")
    kill -USR1 "$follower"
    landed
done
kill -TERM "$follower"; wait "$follower" || true; follower=
rsync -aHn --delete --checksum --itemize-changes source/ target/ | grep -v '\.drover-restore' && exit 1
copies=() synced=()
for round in $(seq "$rounds"); do
    begun=$(now); cp -a source copy; copies+=("$(took "$begun")")
    sync -f copy; synced+=("$(took "$begun")")
    rm -rf copy
done
firsts=()
for round in $(seq "$rounds"); do
    "$drover" restore --repo repository latest first --json --progress none >first.json
    firsts+=("$(python3 -c 'import json; print(round(json.load(open("first.json"))["seconds"], 2))')")
    rm -rf first
done
python3 - "$files" "${walks[*]}" "${copies[*]}" "${synced[*]}" "${firsts[*]}" <<'END'
import json, statistics, sys
walks, copies, synced, firsts = ([float(n) for n in text.split()] for text in sys.argv[2:])
landings = [landing["seconds"] for landing in json.load(open("landings.json"))["landings"]]
middle = statistics.median
print(f"{int(sys.argv[1]):,} files; seconds, the median and all runs.\n")
print("| what | median | runs | ratio |\n| --- | --- | --- | --- |")
def row(what, runs, beside=None):
    ratio = f"{middle(runs) / middle(beside):.2f}" if beside else ""
    print(f"| {what} | {middle(runs):.2f} | {', '.join(f'{run:.2f}' for run in runs)} | {ratio} |")
row("`cp -a`", copies)
row("`cp -a` and `sync -f`", synced)
row("a first landing, opening the repository included, beside `cp -a` and sync", firsts, synced)
row("a walk of the target with stat (`find`)", walks)
row("landings of 1 % churn that follow, beside the walk", landings[1:], walks)
END
