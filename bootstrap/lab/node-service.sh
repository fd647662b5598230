#!/bin/bash
# The services of a lab node, in place of systemd. Inside a node: node-service start|stop|restart|pid SERVICE
set -euo pipefail

usage() {
  echo "usage: node-service start|stop|restart|pid containerd|kubelet|sshd|etcd-snapshots" >&2
  exit 2
}

[[ $# -eq 2 ]] || usage
action=$1 service=$2
pid_file=/run/$service.pid

case $service in
  containerd) command=(containerd --config /etc/containerd/config.toml) ;;
  kubelet)
    # As in kubeadm's unit file, an operator's own flags come last and win.
    KUBELET_EXTRA_ARGS=
    # shellcheck source=/dev/null
    if [[ -r /etc/default/kubelet ]]; then . /etc/default/kubelet; fi
    read -r -a extra <<<"$KUBELET_EXTRA_ARGS"
    # Six kubelets share two cores; how much containers use may be a little older for that.
    command=(kubelet --config=/var/lib/kubelet/config.yaml --kubeconfig=/etc/kubernetes/kubelet.conf
      "--hostname-override=$(hostname)" --housekeeping-interval=30s "${extra[@]}")
    ;;
  sshd) command=(/usr/sbin/sshd -D -e -f /etc/ssh/sshd_config) ;;
  etcd-snapshots) command=(etcd-snapshots) ;;
  *) usage ;;
esac

running() {
  local pid
  [[ -r $pid_file ]] && pid=$(<"$pid_file") && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$service" ]] &&
    ! grep -q '^State:\tZ' "/proc/$pid/status" && echo "$pid"
}

stop() {
  local pid
  pid=$(running) || return 0
  kill "$pid"
  for _ in {1..100}; do
    running >/dev/null || return 0
    read -r -t 0.1 <> <(:) || true # a pause without a process
  done
  kill -KILL "$pid"
}

start() {
  running >/dev/null && return 0
  # The node's own services live beside its pods, also when started from an SSH session.
  local group
  for group in /sys/fs/cgroup/*/finbot-lab/"$(hostname)"/system /sys/fs/cgroup/finbot-lab/"$(hostname)"/system; do
    if [[ -d $group ]]; then echo $$ >"$group/cgroup.procs"; fi
  done
  export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  # A dozen Go programs on two cores: with more threads each of them wakes the other core to look for work.
  export GOMAXPROCS=1
  setsid "${command[@]}" </dev/null >>"/var/log/node/$service.log" 2>&1 &
  echo $! >"$pid_file"
  disown
}

case $action in
  start) start ;;
  stop) stop ;;
  restart) stop && start ;;
  pid) running ;;
  *) usage ;;
esac
