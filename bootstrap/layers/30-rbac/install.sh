#!/bin/bash
# Who may do what: the verifier's two identities, and the applications' service accounts with their own Secret.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=../../lib.sh
. ../../lib.sh

# What `verify rbac` wrote for the target and the checks that will be run; relative to this folder, or a whole path.
if [[ ! -r ${IDENTITIES:=} ]]; then
  echo "IDENTITIES ($IDENTITIES) cannot be read; write it with \`verify rbac --target mine.yaml --output FILE\`," \
    "and give its whole path in the values" >&2
  exit 1
fi

objects=$(
  cat "$IDENTITIES"
  for NAMESPACE in $APPLICATION_NAMESPACES; do
    export NAMESPACE
    render application.yaml
  done
)
apply <<<"$objects"

# The Secret's value is made once and never written anywhere else, command lines included.
for NAMESPACE in $APPLICATION_NAMESPACES; do
  if [[ -z $(kube -n "$NAMESPACE" get secret finbot-config --ignore-not-found -o name) ]]; then
    SECRET=$(head -c 32 /dev/urandom | base64 -w 0)
    export SECRET
    render secret.yaml | kube create -f - >/dev/null
  fi
done
