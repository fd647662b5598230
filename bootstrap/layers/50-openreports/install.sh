#!/bin/bash
# The types of OpenReports, for `verify export openreports --apply`, and the one permission that it needs.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=../../lib.sh
. ../../lib.sh

# Never ours: as its makers publish them, from a file or an address.
apply "${OPENREPORTS_CRDS:?set it in the values file to the install.yaml of OpenReports, a file or an address}"
apply <publisher.yaml
