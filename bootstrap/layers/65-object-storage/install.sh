#!/bin/bash
# Object storage in the cluster: SeaweedFS, an S3 server, with two buckets, versioned and encrypted.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=../../lib.sh
. ../../lib.sh

# Keys and certificate are made once, and are never written anywhere else, command lines included.
if ! there object-storage secret/s3; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  certificate "$folder" s3.object-storage.svc,s3.object-storage.svc.cluster.local,s3
  S3_KEY=$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')
  S3_SECRET=$(head -c 32 /dev/urandom | base64 -w 0)
  S3_SSE_KEY=$(head -c 32 /dev/urandom | base64 -w 0)
  for name in ca.crt tls.crt tls.key; do declare "$(tr a-z. A-Z_ <<<"$name")=$(base64 -w 0 "$folder/$name")"; done
  export S3_KEY S3_SECRET S3_SSE_KEY CA_CRT TLS_CRT TLS_KEY
  render secret.yaml | kube create -f - >/dev/null
fi
objects=$(render seaweedfs.yaml)
apply <<<"$objects"
ready object-storage statefulset/seaweedfs
