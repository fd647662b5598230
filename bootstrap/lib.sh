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

# kustomized FILE: a manifest as its makers publish it (a file or an address), changed by the kustomization on stdin, in
# which it is called upstream.yaml.
kustomized() {
  local folder
  folder=$(mktemp -d)
  case $1 in
    http://* | https://*) curl -fsSL "$1" -o "$folder/upstream.yaml" ;;
    *) cp "$1" "$folder/upstream.yaml" ;;
  esac
  cat >"$folder/kustomization.yaml"
  kubectl kustomize "$folder"
  rm -rf "$folder"
}

# there NAMESPACE KIND/NAME: whether an object is there; a Secret that is there is never made anew.
there() { [[ -n $(kube -n "$1" get "$2" --ignore-not-found -o name) ]]; }

# certificate FOLDER NAME[,NAME...]: ca.crt, tls.crt and tls.key for these DNS names, by an authority whose key is not kept.
certificate() {
  (
    cd "$1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=finbot-platform" \
      -keyout ca.key -out ca.crt
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=${2%%,*}" -keyout tls.key -out tls.csr
    openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 730 -out tls.crt \
      -extfile <(echo "subjectAltName=DNS:${2//,/,DNS:}")
    rm ca.key tls.csr
  ) 2>/dev/null
}
