# Shared by the layers' install.sh. Needs CONTEXT, WAIT and the values, which bootstrap/run.sh exports.
# shellcheck shell=bash
set -euo pipefail
# An error within $(...) is an error too.
shopt -s inherit_errexit
: "${CONTEXT:?run the layer through bootstrap/run.sh}" "${WAIT:?run the layer through bootstrap/run.sh}"

kube() { kubectl --context "$CONTEXT" "$@"; }

# render FILE: its text with every ${NAME} filled in from the values.
render() {
  local text name
  text=$(<"$1")
  while [[ $text =~ \$\{([A-Z][A-Z0-9_]*)\} ]]; do
    name=${BASH_REMATCH[1]}
    if [[ ! -v $name ]]; then
      echo "$1 wants the value $name; set it in the values file" >&2
      return 1
    fi
    text=${text//"\${$name}"/"${!name}"}
  done
  printf '%s\n' "$text"
}

# apply [FILE]: objects on stdin, in a file or at an address, by server-side apply under one owner, so that a second run
# changes nothing.
apply() { kube apply --server-side --force-conflicts --field-manager=finbot-bootstrap -f "${1:--}" >/dev/null; }

# ready NAMESPACE KIND/NAME...: wait until these have rolled out.
ready() {
  local namespace=$1 each
  shift
  [[ $WAIT == yes ]] || return 0
  for each in "$@"; do kube -n "$namespace" rollout status "$each" --timeout="${ROLLOUT_TIMEOUT:-300s}" >/dev/null; done
}
