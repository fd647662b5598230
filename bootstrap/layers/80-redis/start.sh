#!/bin/sh
# Starts a member: the password goes into a file in memory, not onto the command line.
set -eu
umask 077
password=$(cat /auth/password)
printf 'requirepass "%s"\nmasterauth "%s"\n' "$password" "$password" >/run/redis/auth.conf
# syslog-ident: no syslog is used; it is where the others read on which node this member is.
exec redis-server /config/redis.conf --cluster-announce-ip "$POD_IP" \
  --cluster-announce-hostname "$POD_NAME.redis-members.$POD_NAMESPACE.svc" --syslog-ident "$NODE_NAME"
