#!/bin/bash
# Reads a server over SSH by drover (SFTP, and a helper there), rclone and scp, without delay and with
# 20 ms of it, and writes a dated table.
#
#   benches/ssh.sh [-s SCALE] [-w DIR]
#
#   -s SCALE    part of the corpora `small` and `mixed` (default 0.1: 10,000 and 2,000 files)
#   -w DIR      where corpora and repositories lie (default benches/work)
#
# drover is $DROVER, else target/release/drover. rclone is left out where it is not installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scale=0.1 work=$here/work
while getopts s:w:h option; do
  case $option in
    s) scale=$OPTARG ;; w) work=$OPTARG ;; *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
mkdir -p "$work" && work=$(cd "$work" && pwd)
drover=$(realpath "${DROVER:-$here/../target/release/drover}")
ssh=$work/ssh own=$work/own
rm -rf "$ssh" "$own" && mkdir -p "$ssh" "$own" /run/sshd
export HOME=$own DROVER_PASSWORD=benchmark

ssh-keygen -q -t ed25519 -N '' -f "$ssh/key"
ssh-keygen -q -t ed25519 -N '' -f "$ssh/host"
cp "$ssh/key.pub" "$ssh/authorized"
printf '%s\n' 'Port 2291' 'ListenAddress 127.0.0.1' "HostKey $ssh/host" \
  "AuthorizedKeysFile $ssh/authorized" 'PidFile none' 'StrictModes no' 'UsePAM no' \
  'PasswordAuthentication no' 'PermitRootLogin yes' 'Subsystem sftp internal-sftp' \
  'MaxStartups 100' >"$ssh/config"
/usr/sbin/sshd -D -f "$ssh/config" -E "$ssh/log" & server=$!
python3 "$here/delay.py" 2292 2291 10 & proxy=$!
trap 'kill $server $proxy' EXIT
for port in 2291 2292; do
  echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$ssh/host.pub")" >>"$ssh/known"
done
for _ in {1..1000}; do ssh-keyscan -p 2292 127.0.0.1 >/dev/null 2>&1 && break; done

result=$here/results/$(date +%Y-%m-%dT%H%M)-ssh.md
{
  echo "# Over SSH, $(date +%Y-%m-%d)"
  echo
  echo "$("$drover" --version), $(ssh -V 2>&1 | cut -d, -f1), corpora at scale $scale, $(nproc) cores,"
  echo "server and client on the same machine. Wall seconds / CPU seconds of the client's process."
} >"$result"
options=(--ssh-identity-file "$ssh/key" --ssh-config /dev/null
  --ssh-host-key "$(ssh-keygen -lf "$ssh/host.pub" | cut -d' ' -f2)")
scp=(-q -r -i "$ssh/key" -o UserKnownHostsFile="$ssh/known" -o GlobalKnownHostsFile=/dev/null)

# timed COMMAND…: wall and CPU seconds
timed() {
  sync
  /usr/bin/time -o "$ssh/time" -f '%e %U %S' "$@" >"$ssh/out" 2>&1 ||
    { tail -5 "$ssh/out" >&2; echo failed; return; }
  tail -1 "$ssh/time" | awk '{ printf "%.1f / %.1f", $1, $2 + $3 }'
}
# pass WAY URL: one pass by SFTP or by a helper
pass() {
  local more=()
  [ "$1" = sftp ] || more=(--ssh-helper)
  DROVER_STATE_DIR=$work/ssh-state-$1 timed "$drover" sync --progress none \
    --repo "$work/ssh-repository-$1" --source "$2" "${options[@]}" "${more[@]}"
}

for corpus in small mixed; do
  tree=$work/ssh-$corpus
  [ -d "$tree" ] || "$here/corpus.py" make "$corpus" "$scale" "$tree" >/dev/null
  for link in 0:2291 20:2292; do
    port=${link#*:} url=sftp://$(id -un)@127.0.0.1:${link#*:}$tree
    copy=(rclone --config /dev/null --transfers 8 --checkers 16 copy
      ":sftp,host=127.0.0.1,user=$(id -un),port=$port,key_file=$ssh/key,known_hosts_file=$ssh/known:$tree"
      "$work/ssh-copy")
    declare -A row=()
    for way in sftp helper; do
      rm -rf "$work/ssh-state-$way" "$work/ssh-repository-$way"
      "$drover" init --repo "$work/ssh-repository-$way" >/dev/null 2>&1
      row[$way]="$(pass $way "$url") | $(pass $way "$url")"
    done
    rm -rf "$work/ssh-copy"
    row[scp]="$(timed scp "${scp[@]}" -P "$port" "127.0.0.1:$tree" "$work/ssh-copy") | – | –"
    rm -rf "$work/ssh-copy"
    if command -v rclone >/dev/null; then
      row[rclone]="$(timed "${copy[@]}") | $(timed "${copy[@]}")"
    fi
    "$here/corpus.py" churn "$tree" >/dev/null
    for way in sftp helper; do row[$way]+=" | $(pass $way "$url")"; done
    [ -z "${row[rclone]:-}" ] || row[rclone]+=" | $(timed "${copy[@]}")"
    "$here/corpus.py" restore "$tree" >/dev/null
    {
      printf '\n## `%s`, %s ms\n\n' "$corpus" "${link%:*}"
      echo "| | baseline | no change | 1 % churn |"
      echo "| --- | --- | --- | --- |"
      for way in helper sftp rclone scp; do
        [ -z "${row[$way]:-}" ] || echo "| $way | ${row[$way]} |"
      done
    } >>"$result"
    unset row
  done
done
cat "$result"
