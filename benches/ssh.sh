#!/bin/bash
# Reads a server over SSH by drover (SFTP alone, SFTP and a shell, a helper there), rclone, rclone to an
# encrypted remote, and scp, without delay and with 20 ms of it, and writes a dated table.
#
#   benches/ssh.sh [-c CORPORA] [-l LINKS] [-w DIR]
#
#   -c CORPORA  of benches/corpus.py, and how much of each (default "small:0.01 mixed:0.02 large:0.1": 1,000
#               and 400 files, 400 MiB)
#   -l LINKS    milliseconds of delay, there and back (default "0 20")
#   -w DIR      where corpora and repositories lie (default benches/work)
#
# drover is $DROVER, else target/release/drover. rclone is left out where it is not installed. What is under
# way is said on the standard error.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
corpora="small:0.01 mixed:0.02 large:0.1" links="0 20" work=$here/work
while getopts c:l:w:h option; do
  case $option in
    c) corpora=$OPTARG ;; l) links=$OPTARG ;; w) work=$OPTARG ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
mkdir -p "$work" && work=$(cd "$work" && pwd)
drover=$(realpath "${DROVER:-$here/../target/release/drover}")
dir=$(mktemp -d "$work/ssh.XXXXXX")
jobs=()
cleanup() {
  # Only what was started here; what a step left behind ends with its connection.
  for job in "${jobs[@]}"; do kill "$job" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
ssh=$dir/ssh
mkdir -p "$ssh" "$dir/home" /run/sshd
export HOME=$dir/home DROVER_PASSWORD=benchmark

say() { echo "$(date +%T) $*" >&2; }
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
ssh-keygen -q -t ed25519 -N '' -f "$ssh/key"
ssh-keygen -q -t ed25519 -N '' -f "$ssh/host"
cp "$ssh/key.pub" "$ssh/authorized"
server=$(free_port)
printf '%s\n' "Port $server" 'ListenAddress 127.0.0.1' "HostKey $ssh/host" \
  "AuthorizedKeysFile $ssh/authorized" 'PidFile none' 'StrictModes no' 'UsePAM no' \
  'PasswordAuthentication no' 'PermitRootLogin yes' 'Subsystem sftp internal-sftp' \
  'MaxStartups 100' 'MaxSessions 64' >"$ssh/config"
/usr/sbin/sshd -D -f "$ssh/config" -E "$ssh/log" & jobs+=($!)
daemon=$!
declare -A ports=()
for link in $links; do
  port=$server
  if [ "$link" != 0 ]; then
    port=$(free_port)
    python3 "$here/delay.py" "$port" "$server" "$(awk "BEGIN { print $link / 2 }")" & jobs+=($!)
  fi
  ports[$link]=$port
  echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$ssh/host.pub")" >>"$ssh/known"
  up=
  for _ in {1..1000}; do ssh-keyscan -p "$port" 127.0.0.1 >/dev/null 2>&1 && { up=1; break; }; done
  [ -n "$up" ] || { say "nobody listens on port $port"; tail -5 "$ssh/log" >&2; exit 1; }
done

# CPU seconds of the server's connections that have ended.
served() {
  for _ in {1..100}; do pgrep -P "$daemon" >/dev/null || break; sleep 0.05; done
  awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($14 + $15) / tick }' "/proc/$daemon/stat"
}
# timed COMMAND…: wall seconds, CPU seconds of the client and of the server
timed() {
  local before
  sync
  before=$(served)
  /usr/bin/time -o "$ssh/time" -f '%e %U %S' "$@" >"$ssh/out" 2>&1 ||
    { say "failed: $*"; tail -5 "$ssh/out" >&2; echo failed; return; }
  tail -1 "$ssh/time" |
    awk -v server="$(served)" -v before="$before" \
      '{ printf "%.1f / %.1f / %.1f", $1, $2 + $3, server - before }'
}
options=(--ssh-identity-file "$ssh/key" --ssh-config /dev/null
  --ssh-host-key "$(ssh-keygen -lf "$ssh/host.pub" | cut -d' ' -f2)")
scp=(-q -r -i "$ssh/key" -o UserKnownHostsFile="$ssh/known" -o GlobalKnownHostsFile=/dev/null)
# run WAY STEP: one step of one tool, on the corpus and the link that are set
run() {
  local way=$1 step=$2 more=() reach
  say "$corpus at $link ms: $way, $step"
  case $way in
    sftp) more=(--ssh-no-shell) ;;
    helper) more=(--ssh-helper) ;;
  esac
  reach=":sftp,host=127.0.0.1,user=$(id -un),port=$port,key_file=$ssh/key,known_hosts_file=$ssh/known"
  # It would run md5sum on the server for every file, and is faster without.
  reach+=",shell_type=none,disable_hashcheck=true:$tree"
  case $way:$step in
    scp:walk | scp:none | scp:churn | crypt:walk) echo – ;;
    scp:baseline)
      rm -rf "$dir/copy-scp"
      timed scp "${scp[@]}" -P "$port" "127.0.0.1:$tree" "$dir/copy-scp" ;;
    rclone:walk) timed rclone --config /dev/null --checkers 16 size "$reach" ;;
    crypt:*)
      [ "$step" != baseline ] || rm -rf "$dir/copy-crypt"
      timed rclone --config /dev/null --transfers 8 --checkers 16 copy "$reach" \
        ":crypt,remote=$dir/copy-crypt,password=$(rclone obscure benchmark):" ;;
    rclone:*)
      [ "$step" != baseline ] || rm -rf "$dir/copy-rclone"
      timed rclone --config /dev/null --transfers 8 --checkers 16 copy "$reach" "$dir/copy-rclone" ;;
    *)
      if [ "$step" = walk ]; then
        more+=(--dry-run)
        rm -rf "$dir/state-$way" "$dir/repository-$way"
        DROVER_STATE_DIR=$dir/state-$way "$drover" init --repo "$dir/repository-$way" >/dev/null 2>&1
      fi
      DROVER_STATE_DIR=$dir/state-$way timed "$drover" sync --progress none \
        --repo "$dir/repository-$way" --source "sftp://$(id -un)@127.0.0.1:$port$tree" \
        "${options[@]}" "${more[@]}" ;;
  esac
}

# What changed shortly before it was scanned is read again in the next pass, by SFTP up to 62 seconds.
rest() {
  local left=$((${changed[$corpus]} + 63 - $(date +%s)))
  [ "$left" -le 0 ] || { say "$left s until the corpus is old enough" && sleep "$left"; }
}
# What is copied to the server, without what only a debugger reads.
cp "$drover" "$dir/helper"
strip "$dir/helper" 2>/dev/null || true
export DROVER_HELPER=$dir/helper

ways="helper shell sftp rclone crypt scp"
command -v rclone >/dev/null || { ways=${ways/rclone crypt /} && say "rclone is not installed"; }
result=$here/results/$(date +%Y-%m-%dT%H%M)-ssh.md
{
  echo "# Over SSH, $(date +%Y-%m-%d)"
  echo
  echo "$("$drover" --version), $(ssh -V 2>&1 | cut -d, -f1), $(rclone version 2>/dev/null | head -1),"
  echo "$(nproc) cores, server and client on the same machine, load $(cut -d' ' -f1-3 /proc/loadavg) before. Wall"
  echo "seconds / CPU seconds of the client's process / of the server's. \`sftp\` is without a shell on the server,"
  echo "\`shell\` with one; \`crypt\` is rclone to an encrypted remote."
} >"$dir/result"
declare -A changed=()
for part in $corpora; do
  corpus=${part%:*} tree=$work/ssh-${part/:/-}
  say "$corpus is made"
  [ -d "$tree" ] || "$here/corpus.py" make "$corpus" "${part#*:}" "$tree" >/dev/null
  # A run that was stopped may have left it changed.
  [ ! -d "$tree.kept" ] || "$here/corpus.py" restore "$tree" >/dev/null
  changed[$corpus]=$(date +%s)
done
for link in $links; do
  port=${ports[$link]}
  for part in $corpora; do
    corpus=${part%:*} tree=$work/ssh-${part/:/-}
    declare -A row=()
    for step in walk baseline none churn; do
      case $step in
        churn) "$here/corpus.py" churn "$tree" >/dev/null ;;
        baseline) rest ;;
      esac
      for way in $ways; do row[$way]+=" | $(run "$way" "$step")"; done
    done
    "$here/corpus.py" restore "$tree" >/dev/null
    changed[$corpus]=$(date +%s)
    {
      printf '\n## `%s` (%s), %s ms\n\n' "$corpus" "$("$here/corpus.py" size "$tree" | tail -1)" "$link"
      echo "| | walk | baseline | no change | 1 % churn |"
      echo "| --- | --- | --- | --- | --- |"
      for way in $ways; do echo "| $way${row[$way]} |"; done
    } | tee -a "$dir/result" >&2
    unset row
  done
done
cp "$dir/result" "$result"
say "written to $result"
