#!/bin/bash
# Redis: a cluster of six members with TLS, passwords and persistence. The members form it themselves (keeper.sh).
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=../../lib.sh
. ../../lib.sh

NAMESPACE=$REDIS_NAMESPACE
export NAMESPACE

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# secret NAME FILE...: a Secret of files in $made. Made once: its values are nowhere else, command lines included.
secret() {
  local name=$1 each files=()
  shift
  for each in "$@"; do files+=("--from-file=$each=$made/$each"); done
  kube -n "$NAMESPACE" create secret generic "$name" "${files[@]}" >/dev/null
}
is_there() { [[ -n $(kube -n "$NAMESPACE" get secret "$1" --ignore-not-found -o name) ]]; }

if ! is_there redis-auth; then
  head -c 32 /dev/urandom | base64 -w 0 | tr -d '=+/' >"$made/password"
  secret redis-auth password
fi

if ! is_there redis-tls; then
  # The members' names, that of the Service, and localhost for what runs in a member's own pod.
  names=DNS:localhost
  for each in redis '*.redis-members'; do
    names+=",DNS:$each,DNS:$each.$NAMESPACE,DNS:$each.$NAMESPACE.svc,DNS:$each.$NAMESPACE.svc.cluster.local"
  done
  curve='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
  # shellcheck disable=SC2086
  openssl req -x509 $curve -keyout "$made/ca.key" -out "$made/ca.crt" -days 3650 -subj "/CN=redis CA" 2>/dev/null
  # shellcheck disable=SC2086
  openssl req $curve -keyout "$made/tls.key" -out "$made/csr" -subj "/CN=redis" 2>/dev/null
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" >"$made/extensions"
  openssl x509 -req -in "$made/csr" -CA "$made/ca.crt" -CAkey "$made/ca.key" -CAcreateserial -days 3650 \
    -extfile "$made/extensions" -out "$made/tls.crt" 2>/dev/null
  secret redis-tls ca.crt tls.crt tls.key
fi

render redis.conf >"$made/redis.conf"
# Members are started anew, one by one, when their settings change.
SETTINGS=$(cat "$made/redis.conf" start.sh keeper.sh | sha256sum | cut -c1-16)
export SETTINGS
objects=$(
  kube -n "$NAMESPACE" create configmap redis --from-file="$made/redis.conf" --from-file=start.sh --from-file=keeper.sh \
    --dry-run=client -o yaml
  echo ---
  render redis.yaml
)
apply <<<"$objects"
ready "$NAMESPACE" statefulset/redis
