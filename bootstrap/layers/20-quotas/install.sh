#!/bin/bash
# A quota and container defaults in every namespace, and default service accounts that mount no token.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=../../lib.sh
. ../../lib.sh

namespaces=$(kube get namespaces -l 'app.kubernetes.io/managed-by!=finbot-verify' -o jsonpath='{.items[*].metadata.name}')
objects=$(
  for NAMESPACE in $namespaces; do
    export NAMESPACE
    case " $ENVIRONMENTS " in
      *" $NAMESPACE "*) PREFIX=ENVIRONMENT ;;
      *) if [[ $NAMESPACE == kube-system ]]; then PREFIX=SYSTEM; else PREFIX=SMALL; fi ;;
    esac
    for value in REQUESTS_CPU REQUESTS_MEMORY LIMITS_CPU LIMITS_MEMORY PODS; do
      from=${PREFIX}_$value
      declare "$value=${!from}"
    done
    render quota.yaml
    echo ---
  done
)
apply <<<"$objects"
