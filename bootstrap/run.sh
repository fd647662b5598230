#!/bin/bash
# Lays down the deployment's base, layer by layer, on any cluster: bootstrap/run.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

help() {
  cat <<'TEXT'
usage: bootstrap/run.sh --values FILE [--values FILE ...] [--context NAME] [--only NN[,NN...]] [--no-wait]

Applies bootstrap/layers/NN-name/install.sh in order and waits for each. Twice in a row changes nothing.

  --values FILE   settings as NAME=value lines; later files win (bootstrap/values/production.example.env explains them)
  --context NAME  the kubeconfig context to change; named on purpose, there is no default
                  (it may also stand in a values file, as CONTEXT=NAME)
  --only NN       these layers only, by number or name
  --no-wait       do not wait until what a layer started is ready

kubectl is looked for on PATH, the kubeconfig as kubectl does (KUBECONFIG).
TEXT
}

fail() {
  echo "bootstrap: $*" >&2
  exit 2
}

only='' WAIT=yes context=${CONTEXT:-}
values=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --help | -h) help && exit 0 ;;
    --no-wait) WAIT=no && shift ;;
    --values | --context | --only)
      [[ $# -ge 2 ]] || fail "$1 wants a value; see --help"
      case $1 in
        --values) values+=("$2") ;;
        --context) context=$2 ;;
        --only) only=,$2, ;;
      esac
      shift 2
      ;;
    *) fail "unknown argument $1; see --help" ;;
  esac
done

[[ ${#values[@]} -gt 0 ]] || fail "name the settings with --values FILE, for example bootstrap/values/lab.env"
set -a
for file in "${values[@]}"; do
  [[ -r $file ]] || fail "the values file $file cannot be read; name an existing one"
  # shellcheck source=/dev/null
  . "$file"
done
set +a
CONTEXT=${context:-${CONTEXT:-}}
[[ -n $CONTEXT ]] || fail "name the context to change with --context NAME; kubectl config get-contexts lists them"
command -v kubectl >/dev/null || fail "kubectl is not on PATH; install it, or put the lab's on it: /var/lib/finbot-lab/bin"
kubectl config get-contexts "$CONTEXT" >/dev/null 2>&1 ||
  fail "the kubeconfig has no context $CONTEXT; kubectl config get-contexts lists those it has"
export CONTEXT WAIT

applied=0
for layer in "$here"/layers/[0-9][0-9]-*/; do
  name=$(basename "$layer")
  if [[ -n $only && $only != *",${name%%-*},"* && $only != *",$name,"* ]]; then continue; fi
  began=$SECONDS
  bash "$layer/install.sh" || fail "layer $name did not apply; what kubectl said stands above. Mend that, then run this again"
  echo "$name $((SECONDS - began)) s"
  applied=$((applied + 1))
done
[[ $applied -gt 0 ]] || fail "no layer is called $(tr -d , <<<"$only"); there are: $(cd "$here/layers" && echo [0-9][0-9]-*)"
