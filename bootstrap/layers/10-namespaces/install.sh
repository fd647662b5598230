#!/bin/bash
# The environments' namespaces, those of the platform below them, and the verifier's own.
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
  for NAMESPACE in $PLATFORM_NAMESPACES; do
    export NAMESPACE
    render platform.yaml
    echo ---
  done
  cat verify-system.yaml
)
apply <<<"$objects"
