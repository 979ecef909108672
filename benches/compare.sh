#!/bin/bash
# Runs drover beside other tools on the same data, and writes a dated table of medians.
#
#   benches/compare.sh [-s SCALE] [-n RUNS] [-c CORPORA] [-t TOOLS] [-w DIR] [-u s3://BUCKET]
#   benches/compare.sh table RAW.tsv             the table of a run's raw figures once more
#
#   -s SCALE    part of the full corpora (default 0.25: 1 GiB, 25,000 and 5,000 files)
#   -n RUNS     runs of everything (default 3)
#   -c CORPORA  of large,small,mixed (default all)
#   -t TOOLS    of drover,restic,rustic,borg,rclone,pipe,rsync,cp (default all that are installed)
#   -w DIR      where corpora, repositories and restored trees lie (default benches/work)
#   -u URL      baselines to a bucket of the S3 server that AWS_ENDPOINT_URL and the AWS_* keys name,
#               by drover, restic, rclone and s5cmd; each under a prefix of its own, which stays
#
# drover is $DROVER, else target/release/drover. benches/README.md says how the tools are installed
# and what the figures are worth.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scale=0.25 runs=3 corpora=large,small,mixed work=$here/work
all=drover,restic,rustic,borg,rclone,pipe,rsync,cp
tools= url=

if [ "${1:-}" = table ]; then exec python3 "$here/table.py" "$2"; fi
while getopts s:n:c:t:w:u:h option; do
  case $option in
    s) scale=$OPTARG ;; n) runs=$OPTARG ;; c) corpora=$OPTARG ;; t) tools=$OPTARG ;;
    w) work=$OPTARG ;; u) url=${OPTARG%/} ;; *) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
if [ -n "$url" ]; then tools=${tools:-drover,restic,rclone,s5cmd}
else tools=${tools:-$all}; fi
mkdir -p "$work" && work=$(cd "$work" && pwd)
drover=$(realpath "${DROVER:-$here/../target/release/drover}")

# Everything that a tool keeps of its own lies in the work directory and is new for each baseline.
repository=$work/repository target=$work/target own=$work/own
export HOME=$own XDG_CACHE_HOME=$own/cache XDG_CONFIG_HOME=$own/config XDG_STATE_HOME=$own/state
export DROVER_PASSWORD=benchmark RESTIC_PASSWORD=benchmark RUSTIC_PASSWORD=benchmark
export BORG_PASSPHRASE=benchmark BORG_RELOCATED_REPO_ACCESS_IS_OK=yes
export RCLONE_CONFIG=/dev/null RCLONE_CONFIG_SAFE_TYPE=crypt RCLONE_CONFIG_SAFE_REMOTE=$repository
export RCLONE_CONFIG_BUCKET_TYPE=s3 RCLONE_CONFIG_BUCKET_PROVIDER=Other
export RCLONE_CONFIG_BUCKET_ENV_AUTH=true RCLONE_CONFIG_BUCKET_ENDPOINT=${AWS_ENDPOINT_URL:-}
export S3_ENDPOINT_URL=${AWS_ENDPOINT_URL:-}
export PASSWORD=benchmark

version_of() {
  case $1 in
    drover) "$drover" --version ;;
    restic) restic version | cut -d' ' -f1,2 ;;
    rustic) rustic --version ;;
    borg) borg --version ;;
    rclone) rclone version | head -1 ;;
    s5cmd) echo "s5cmd $(s5cmd version)" ;;
    pipe) echo "$(tar --version | head -1), $(zstd --version | grep -o 'v[0-9.]*'), $(openssl version | cut -d' ' -f1,2)" ;;
    rsync) rsync --version | head -1 | cut -d' ' -f1-4 ;;
    cp) cp --version | head -1 ;;
  esac
} 2>/dev/null

# command TOOL STEP: sets `run`, to be run in the source (backup) or in the target (restore). An
# empty `run` says that the tool has no such step.
command_for() {
  local seal='openssl enc -aes-256-ctr -pbkdf2 -pass env:PASSWORD'
  run=()
  case $1:$2 in
    drover:setup) run=("$drover" init --repo "$repository") ;;
    drover:backup) run=("$drover" sync --repo "$repository" --source "$source" --progress none) ;;
    drover:verify) run=("$drover" verify --repo "$repository" --read-data --progress none) ;;
    drover:restore) run=("$drover" restore --repo "$repository" latest "$target" --progress none) ;;
    restic:setup) run=(restic -q -r "$repository" init) ;;
    restic:backup) run=(restic -q -r "$repository" backup .) ;;
    restic:verify) run=(restic -q -r "$repository" check --read-data) ;;
    restic:restore) run=(restic -q -r "$repository" restore latest --target "$target") ;;
    rustic:setup) run=(rustic --no-progress -r "$repository" init) ;;
    rustic:backup) run=(rustic --no-progress -r "$repository" backup .) ;;
    rustic:verify) run=(rustic --no-progress -r "$repository" check --read-data) ;;
    rustic:restore) run=(rustic --no-progress -r "$repository" restore latest "$target") ;;
    borg:setup) run=(borg init -e repokey-blake2 "$repository") ;;
    borg:backup) run=(borg create -C zstd,1 "$repository::{now:%s%f}" .) ;;
    borg:verify) run=(borg check --verify-data "$repository") ;;
    borg:restore) run=(sh -c "borg extract '$repository::'\$(borg list --short --last 1 '$repository')") ;;
    rclone:backup) run=(rclone sync ${url:+--transfers=16} . safe:) ;;
    rclone:verify) run=(rclone check --download "$source" safe:) ;;
    rclone:restore) run=(rclone copy safe: "$target") ;;
    pipe:backup) run=(bash -o pipefail -c "tar c . | zstd -q -1 -T0 | $seal -out '$repository/all'") ;;
    pipe:verify) run=(bash -o pipefail -c "$seal -d -in '$repository/all' | zstd -q -t") ;;
    pipe:restore) run=(bash -o pipefail -c "$seal -d -in '$repository/all' | zstd -q -d | tar x") ;;
    rsync:backup) run=(rsync -a --delete ./ "$repository/") ;;
    rsync:verify) run=(rsync -anc --delete ./ "$repository/") ;;
    rsync:restore) run=(rsync -a "$repository/" ./) ;;
    s5cmd:backup) run=(s5cmd sync . "$repository/") ;;
    cp:backup) run=(cp -a . "$repository") ;;
    cp:restore) run=(cp -a "$repository/." .) ;;
  esac
}

# Where TOOL finds the bucket, under a prefix that nothing else has.
in_bucket() {
  repository=$url/$(date +%s)-$1-$corpus-$round
  RCLONE_CONFIG_SAFE_REMOTE=bucket:${repository#s3://}
  [ "$1" != restic ] || repository=s3:$AWS_ENDPOINT_URL/${repository#s3://}
}

# Trees are moved aside and emptied: a file system that has just deleted many files creates new ones
# more slowly, which would be the next tool's time.
aside() {
  local tree
  for tree in "$@"; do
    [ -e "$tree" ] || continue
    mkdir -p "$work/aside"
    local place; place=$(mktemp -d "$work/aside/XXXXXX")
    mv "$tree" "$place/"
    find "$place" -type f -size +0 -exec truncate -s 0 {} +
  done
}

measure() { # TOOL STEP LABEL DIRECTORY: one row of the raw figures
  command_for "$1" "$2"
  [ ${#run[@]} -gt 0 ] || return 0
  sync
  local figures=$own/figures stored=0 status=0
  (cd "$4" && exec /usr/bin/time -q -o "$figures" -f '%e\t%U\t%S\t%M' "${run[@]}") \
    >"$work/last.log" 2>&1 </dev/null || status=$?
  [ "$status" = 0 ] || { echo "$1 $3 of $corpus ended with $status:"; tail -3 "$work/last.log"; } >&2
  [ "$2" = backup ] && [ -z "$url" ] && stored=$(du -sb "$repository" | cut -f1)
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$corpus" "$3" "$1" "$round" "$status" "$(cat "$figures")" "$stored" \
    | tee -a "$raw"
}

raw=$here/results/$(date -u +%Y-%m-%dT%H%M)-compare.tsv
mkdir -p "$here/results" "$work/corpus" "$own"
present=() absent=()
for tool in ${tools//,/ }; do
  version=$(version_of "$tool") || true # head may close the pipe early
  if [ -n "$version" ]; then
    present+=("$tool"); versions+="# $tool: $version"$'\n'
  else absent+=("$tool"); fi
done
[ "${#absent[@]}" = 0 ] || echo "not installed, left out: ${absent[*]}" >&2
for tool in ${all//,/ }; do
  [ -n "$url" ] || [[ ,$tools, = *",$tool,"* ]] || absent+=("$tool")
done
if [[ " ${present[*]} " = *' rclone '* ]]; then
  RCLONE_CONFIG_SAFE_PASSWORD=$(rclone obscure benchmark); export RCLONE_CONFIG_SAFE_PASSWORD
fi
for corpus in ${corpora//,/ }; do
  source=$work/corpus/$corpus-$scale
  [ -d "$source" ] || python3 "$here/corpus.py" make "$corpus" "$scale" "$source"
  sizes+="# corpus $corpus: $(python3 "$here/corpus.py" size "$source")"$'\n'
done
{
  echo "# scale: $scale"
  echo "# left out: ${absent[*]:-none}"
  [ -z "$url" ] || echo "# to: $url of an S3 server on the same machine"
  echo "# load average before and after: $(cut -d' ' -f1-3 /proc/loadavg), @load@"
  echo "# machine: $(nproc) processors, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs), $(df --output=fstype "$work" | tail -1)"
  printf '%s%s' "$versions" "$sizes"
} >"$raw"

for ((round = 1; round <= runs; round++)); do
  for corpus in ${corpora//,/ }; do
    source=$work/corpus/$corpus-$scale
    for tool in "${present[@]}"; do
      aside "$repository" "$target" "$own"
      mkdir -p "$own"
      [ -z "$url" ] || in_bucket "$tool"
      command_for "$tool" setup
      if [ ${#run[@]} -gt 0 ]; then "${run[@]}" >"$work/last.log" 2>&1 </dev/null
      elif [ -z "$url" ]; then mkdir -p "$repository"; fi
      find "$source" -type f -exec cat {} + >/dev/null # all are measured with a warm cache
      measure "$tool" backup baseline "$source"
      [ -z "$url" ] || continue
      [[ $tool = pipe || $tool = cp ]] || measure "$tool" backup 'no change' "$source"
      if [[ $corpus = mixed && $tool != pipe && $tool != cp ]]; then
        python3 "$here/corpus.py" churn "$source"
        measure "$tool" backup '1 % changed' "$source"
        [ "$tool" = rclone ] || [ "$tool" = rsync ] || measure "$tool" verify verify "$source"
        python3 "$here/corpus.py" restore "$source"
      else
        measure "$tool" verify verify "$source"
      fi
      mkdir -p "$target"
      measure "$tool" restore restore "$target"
      echo "$tool: $(find "$target" -type f ! -name '.drover-*' | wc -l) files came back of $(find "$source" -type f | wc -l)" >&2
    done
  done
done
sed -i "s|@load@|$(cut -d' ' -f1-3 /proc/loadavg)|" "$raw"
python3 "$here/table.py" "$raw" >"${raw%.tsv}.md"
rm -rf "$work/aside" "$repository" "$target" "$own"
echo "${raw%.tsv}.md"
