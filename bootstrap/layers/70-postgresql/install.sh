#!/bin/bash
# PostgreSQL: CloudNativePG's operator, a cluster of three instances with backups in object storage, and its poolers.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=../../lib.sh
. ../../lib.sh

settings=$(render operator.yaml)
kustomized "${CLOUDNATIVE_PG_MANIFEST:?set it in the values file to the manifest of the operator, a file or an address}" \
  <<<"$settings" | apply
# The API asks the operator about each of its objects, so it has to be there before the first of them.
WAIT=yes ready cnpg-system deployment/cnpg-controller-manager

# The keys of object storage, for the backups: those of the layer below, or what was put there before.
if ! there "$DATABASE_NAMESPACE" secret/s3; then
  kube -n object-storage get secret s3 -o go-template="$(render s3.gotemplate)" | kube create -f - >/dev/null
fi
# The role that verification looks with. Its password is made once and never written anywhere else.
if ! there "$DATABASE_NAMESPACE" secret/finbot-db-verify; then
  PASSWORD=$(head -c 24 /dev/urandom | base64 -w 0 | tr +/ -_)
  export PASSWORD
  render verify-role.yaml | kube create -f - >/dev/null
fi

objects=$(for file in cluster.yaml pooler.yaml; do render "$file" && echo ---; done)
apply <<<"$objects"
if [[ $WAIT == yes ]]; then
  kube -n "$DATABASE_NAMESPACE" wait cluster/finbot-db --for=condition=Ready --timeout="${ROLLOUT_TIMEOUT:-600s}" >/dev/null
  ready "$DATABASE_NAMESPACE" deployment/finbot-db-pooler
fi
