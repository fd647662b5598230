#!/bin/bash
# What an operator's timer does on a control-plane node: a snapshot of etcd every hour, the newest three are kept.
set -uo pipefail
folder=/var/lib/etcd-snapshots pki=/etc/kubernetes/pki/etcd
umask 077
mkdir -p "$folder"
exec {never}<> <(:)
while :; do
  pause=5 # etcd may still be starting
  if etcdctl --endpoints=https://127.0.0.1:2379 --cacert="$pki/ca.crt" --cert="$pki/healthcheck-client.crt" \
    --key="$pki/healthcheck-client.key" snapshot save "$folder/$(date -u +%Y%m%d-%H%M%S).db"; then
    pause=3600
    find "$folder" -name '*.db' | sort -r | tail -n +4 | xargs -r rm --
  fi
  read -r -t "$pause" -u "$never" || true # a pause without a process
done
