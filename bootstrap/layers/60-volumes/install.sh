#!/bin/bash
# Volumes that are folders on a node: the default StorageClass, by local-path-provisioner.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=../../lib.sh
. ../../lib.sh

settings=$(render kustomization.yaml)
kustomized "${LOCAL_PATH_MANIFEST:?set it in the values file to local-path-storage.yaml, a file or an address}" \
  <<<"$settings" | apply
ready local-path-storage deployment/local-path-provisioner
