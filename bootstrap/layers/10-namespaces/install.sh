#!/bin/bash
# The environments' namespaces, and the verifier's own.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=../../lib.sh
. ../../lib.sh

objects=$(
  for NAMESPACE in $ENVIRONMENTS; do
    export NAMESPACE
    render environment.yaml
    echo ---
  done
  cat verify-system.yaml
)
apply <<<"$objects"
