#!/bin/bash
# Process 1 of a lab node. Started in network, mount, pid, uts and ipc namespaces of its own, it builds the node's root
# folder, moves into it so that nothing of the machine's mounts is left, and then only collects ended processes.
#   node-init.sh NAME FOLDER BIN INIT      FOLDER: the node's disk; BIN: binaries for /usr/local/bin; INIT: the reaper
set -euo pipefail
name=$1 folder=$2 bin=$3 init=$4
root=$folder/root

mount --make-rprivate /
hostname "$name"

mount --bind "$root" "$root"
cd "$root"
mkdir -p usr etc proc sys dev run tmp var/log/node var/lib/kubelet var/lib/containerd var/lib/etcd opt/cni/bin \
  root/.ssh home mnt srv media .machine
chmod 1777 tmp
chmod 700 root root/.ssh var/lib/etcd
for link in bin sbin lib lib32 lib64; do
  if [[ -L /$link && ! -L $link ]]; then ln -s "usr/$link" "$link"; fi
done

# Programs are the machine's, read only; what the lab built itself is /usr/local.
mount --bind /usr usr
mount -o remount,bind,ro usr
mount -t tmpfs -o mode=755,size=1m tmpfs usr/local
mkdir usr/local/bin usr/local/sbin
mount --bind "$bin" usr/local/bin
mount -o remount,bind,ro usr/local/bin
mount --bind "$folder/../../cni-bin" opt/cni/bin

# Settings start as the machine's and change only here.
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$folder/etc,workdir=$folder/etc-work" etc
mount --bind "$folder/kubernetes" etc/kubernetes

mount -t tmpfs -o mode=755 tmpfs run
mkdir run/sshd run/lock
mount -t proc proc proc
# A sysfs of this network namespace; the control groups are the machine's, the kubelet looks for them here.
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount --make-rprivate .

pivot_root . .machine
cd /
exec </dev/null

ip link set lo up
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
# Bridged pod traffic must pass the rules of kube-proxy and of the network policies.
sysctl -qw net.bridge.bridge-nf-call-iptables=1

umount -l /.machine
rmdir /.machine 2>/dev/null || true
# Pods' volumes are mounted by the kubelet here and must appear in containers.
mount --make-rshared /
exec "$init"
