#!/bin/sh
# Beside each member: brings it into the cluster, and keeps masters on different nodes.
#
# - At its start it meets the others: after a restart of all of them nobody knows anybody's address.
# - The first member founds the cluster, where no slot is assigned yet: a master on each node, and its replica on another.
# - A member that came back without its data becomes the replica of a master that has none.
# - After a failover two masters share a node; the member that was replaced takes its place back once it has caught up.
#
# Members are MEMBERS names redis-0.redis-members..., /run/keeper/members holds "name address node" of each.
set -eu
trap 'exit 0' TERM
first=redis-0
me=$POD_NAME
found=/run/keeper/members

name() { echo "$1.redis-members.$POD_NAMESPACE.svc"; }
redis() {
  host=$1
  shift
  timeout 5 redis-cli -e --tls --cacert /tls/ca.crt -h "$host" "$@" 2>/dev/null
}
ask() {
  member=$1
  shift
  redis "$(name "$member")" "$@"
}
pause() { sleep "$1" & wait $!; }

# Where each member is, asked of itself.
members() {
  number=0
  while [ "$number" -lt "$MEMBERS" ]; do
    said=$(ask "redis-$number" config get cluster-announce-ip syslog-ident) || return 1
    echo "$said" | awk -v name="redis-$number" '
      key { has[key] = $1; key = ""; next }
      { key = $1 }
      END { print name, has["cluster-announce-ip"], has["syslog-ident"] }'
    number=$((number + 1))
  done
}

# Whether this member sees all of them, and none as failed.
together() {
  redis localhost cluster nodes | awk -v want="$MEMBERS" '
    $3 ~ /handshake|noaddr|fail/ || $8 != "connected" { ill = 1 }
    END { exit ill || NR != want }'
}

meet() {
  while read -r member address _; do
    [ "$member" = "$me" ] || redis localhost cluster meet "$address" 6379 >/dev/null || true
  done <"$found"
}

slots_assigned() { redis localhost cluster info | tr -d '\r' | sed -n 's/^cluster_slots_assigned://p'; }

# "master NAME FROM TO" and "replica NAME MASTER": the first member on each node is a master, each other one the
# replica of the next node's.
plan() {
  awk -v want="$MASTERS" '
    { name[NR] = $1; node[NR] = $3 }
    END {
      for (round = 0; round < 2; round++)  # where there are too few nodes, a second one on a node
        for (i = 1; i <= NR; i++)
          if (masters < want && !master[i] && (round || !(node[i] in at))) {
            master[i] = 1; at[node[i]] = masters; of[masters++] = i
          }
      for (m = 0; m < masters; m++)
        print "master", name[of[m]], int(16384 * m / masters), int(16384 * (m + 1) / masters) - 1
      for (i = 1; i <= NR; i++) if (!master[i]) {
        best = -1
        for (step = 1; step <= masters; step++) {
          m = (at[node[i]] + step) % masters
          cost = 2 * replicas[m] + (node[of[m]] == node[i])
          if (best < 0 || cost < least) { best = m; least = cost }
        }
        replicas[best]++
        print "replica", name[i], name[of[best]]
      }
    }' "$found"
}

found_cluster() {
  plan | while read -r role member a b; do
    if [ "$role" = master ]; then
      echo "$member becomes the master of slots $a to $b"
      ask "$member" cluster addslotsrange "$a" "$b" >/dev/null
    else
      echo "$member becomes a replica of $a"
      id=$(ask "$a" cluster myid)
      until ask "$member" cluster replicate "$id" >/dev/null; do pause 1; done
    fi
  done
}

# What this member should do now: "replicate ID", "failover", or nothing.
next() {
  redis localhost cluster nodes | awk '
    function host(field,  parts) { split(field, parts, ","); split(parts[2], parts, "."); return parts[1] }
    NR == FNR { node[$1] = $3; next }
    { at[$1] = node[host($2)] }
    $3 ~ /myself/ { mine = $1; role = $3; of = $4; slots = NF - 8 }
    $3 ~ /master/ && $3 !~ /fail/ && NF > 8 { masters[$1] = 1; on[at[$1]]++ }
    $3 ~ /slave/ && $3 !~ /fail/ { replicas[$4]++ }
    END {
      if (role ~ /slave/ && (of in masters) && !(at[mine] in on) && on[at[of]] > 1) { print "failover"; exit }
      if (role ~ /master/ && !slots)
        for (id in masters) if (!replicas[id] && at[id] != at[mine]) { print "replicate " id; exit }
    }' "$found" -
}

until members >"$found.new" && mv "$found.new" "$found"; do pause 1; done
until together; do
  meet
  pause 2
  members >"$found.new" && mv "$found.new" "$found"
done
echo "together with $((MEMBERS - 1)) others"
if [ "$me" = "$first" ] && [ "$(slots_assigned)" = 0 ]; then
  found_cluster
fi

wanted='' times=0
while true; do
  pause 10
  # What is asked for has to stand for a while: the founder may be at work, or a failover.
  now=$(next) || now=''
  if [ -n "$now" ] && [ "$now" = "$wanted" ]; then times=$((times + 1)); else times=0; fi
  wanted=$now
  [ "$times" -ge 1 ] || continue
  case $now in
    failover) redis localhost info replication | grep -q master_link_status:up || continue ;;
    replicate*) [ "$(slots_assigned)" = 16384 ] || continue ;;
  esac
  echo "$now"
  # shellcheck disable=SC2086
  redis localhost cluster $now >/dev/null || true
  times=0
done
