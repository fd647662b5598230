#!/bin/bash
# What looks at the cluster all the time: metrics-server, kube-state-metrics, Prometheus and Alertmanager.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=../../lib.sh
. ../../lib.sh

# Pods are started anew when their settings change, not only when their images do.
SETTINGS=$(cat prometheus-config.yaml alertmanager.yaml | sha256sum | cut -c1-16)
export SETTINGS
objects=$(
  for file in metrics-server.yaml kube-state-metrics.yaml prometheus-config.yaml prometheus.yaml alertmanager.yaml; do
    render "$file"
    echo ---
  done
)
apply <<<"$objects"
ready kube-system deployment/metrics-server deployment/kube-state-metrics
ready monitoring deployment/prometheus deployment/alertmanager
