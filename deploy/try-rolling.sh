#!/usr/bin/env bash
# Tries a rolling restart on this machine: two edges and two control planes behind haproxy, with the Redis users and
# Postgres roles of this folder, restarted one after another under load. Counts what was refused, lost and doubled.
#
#   BIN=target/debug PG=postgres://postgres@127.0.0.1:5432/postgres deploy/try-rolling.sh
#
# Needs haproxy, redis-server, psql as a superuser (trusted for all roles, as no passwords are set), curl, python3, openssl.
# Makes a database and a Redis of its own and takes them away; the roles stay. KEEP=1 keeps the logs.
# SECONDS_OF_LOAD (40) and CLIENTS (8) say how much. Exit code 0: refused, lost and doubled are 0.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
BIN=${BIN:-$here/../target/debug}
PG=${PG:-postgres://postgres@127.0.0.1:5432/postgres}
HAPROXY=${HAPROXY:-haproxy}
export SECONDS_OF_LOAD=${SECONDS_OF_LOAD:-40} CLIENTS=${CLIENTS:-8}
work=$(mktemp -d)
database=aos_rolling_$$
declare -A pids
P=${PORT:-23400}
front=$P redis=$((P + 1))

finish() {
    for name in "${!pids[@]}"; do kill "${pids[$name]}" 2>/dev/null || true; done
    wait 2>/dev/null || true
    psql -q "$PG" -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" || true
    if [ "${KEEP:-}" ]; then echo "logs: $work"; else rm -rf "$work"; fi
}
trap finish EXIT

# Waits until a command succeeds; gives up after 60 s.
until_ok() {
    local end=$((SECONDS + 60))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "gave up waiting for: $*" >&2; tail -n 5 "$work"/*.log >&2; exit 1; }
        read -rt 0.1 <> <(:) || true
    done
}
of_role() { echo "$PG" | sed -E "s#^postgres://([^@/]*@)?([^/]*)/.*#postgres://$1@\2/$database#"; }
in_database() { echo "$PG" | sed -E "s#/[^/]*\$#/$database#"; }

# Redis with our users, Postgres with our roles.
edge_password=$(openssl rand -hex 16) control_password=$(openssl rand -hex 16)
sed "s/EDGE_PASSWORD/$edge_password/; s/CONTROL_PASSWORD/$control_password/; s/EXPORTER_PASSWORD/$(openssl rand -hex 16)/" \
    "$here/redis/users.acl" >"$work/users.acl"
redis-server --port $redis --bind 127.0.0.1 --save '' --maxmemory 512mb --maxmemory-policy noeviction --dir "$work" \
    --aclfile "$work/users.acl" >"$work/redis.log" 2>&1 &
pids[redis]=$!
until_ok redis-cli -p $redis --user affiliateos_control --pass "$control_password" --no-auth-warning ping
psql -q "$PG" -c "CREATE DATABASE $database"
PGOPTIONS="-c client_min_messages=warning" psql -q "$(in_database)" -f "$here/postgres/roles.sql"
export AOS_SECRET=$(openssl rand -hex 32) AOS_LOG=${AOS_LOG:-warn}
export AOS_API_ORIGIN=http://127.0.0.1:$front AOS_TRACKING_ORIGIN=http://127.0.0.1:$front
export AOS_TRUSTED_PROXIES=127.0.0.0/8 AOS_EDGE_TRUSTED_PROXIES=127.0.0.0/8 AOS_ALLOW_UNSAFE_DATABASE=true
control_redis=redis://affiliateos_control:$control_password@127.0.0.1:$redis/
edge_redis=redis://affiliateos_edge:$edge_password@127.0.0.1:$redis/
AOS_DATABASE_URL=$(of_role affiliateos_owner) AOS_REDIS_URL=$control_redis "$BIN/control-plane" migrate

edge() { # number
    AOS_REDIS_URL=$edge_redis AOS_EDGE_ADDR=127.0.0.1:$((P + 10 + $1)) AOS_EDGE_ADMIN_ADDR=127.0.0.1:$((P + 20 + $1)) \
        AOS_EDGE_SPOOL_DIR=$work/spool-$1 AOS_EDGE_SPOOL_MIB=256 AOS_EDGE_THREADS=1 AOS_EDGE_DRAIN_DELAY_MS=3000 \
        "$BIN/tracker-edge" >>"$work/edge-$1.log" 2>&1 &
    pids[edge-$1]=$!
    until_ok curl -sf "127.0.0.1:$((P + 20 + $1))/ready"
}
control() { # number
    AOS_DATABASE_URL=$(of_role affiliateos_app) AOS_REDIS_URL=$control_redis AOS_ADDR=127.0.0.1:$((P + 30 + $1)) \
        AOS_ADMIN_ADDR=127.0.0.1:$((P + 40 + $1)) "$BIN/control-plane" >>"$work/control-$1.log" 2>&1 &
    pids[control-$1]=$!
    until_ok curl -sf "127.0.0.1:$((P + 40 + $1))/ready"
}
tell() { python3 -c 'import socket,sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode() + b"\n"); print(s.recv(65536).decode())' \
    "$work/haproxy.sock" "$1"; }
is_up() { tell "show stat" | grep -q "^$1,$2,.*,UP,"; }
has_no_sessions() { tell "show servers conn $1" | awk -v s="$1/$2" '$1 == s { exit $7 != 0 }'; }
restart() { # backend server start-command
    local backend=$1 name=$2 old=${pids[$2]}
    tell "set server $backend/$name state drain" >/dev/null
    until_ok has_no_sessions "$backend" "$name"
    kill -TERM "$old"
    wait "$old" || echo "$name ended with $?"
    "$3" "${name##*-}"
    tell "set server $backend/$name state ready" >/dev/null
    until_ok is_up "$backend" "$name"
    echo "restarted $name"
}

control 1; control 2; edge 1; edge 2
python3 - "$here/haproxy/haproxy.cfg" "$P" "$work/haproxy.sock" >"$work/haproxy.cfg" <<'EOF'
import re, sys
text, port, socket = open(sys.argv[1]).read(), int(sys.argv[2]), sys.argv[3]
text = text.replace("/run/haproxy/admin.sock", socket).replace("bind :80\n", f"bind 127.0.0.1:{port}\n")
text = text.replace("maxconn 50000", "maxconn 2000")
text = text.replace("127.0.0.1:8405", f"127.0.0.1:{port + 2}")
for name, public, admin in (("edge", 10, 20), ("control", 30, 40)):
    text = re.sub(rf"server {name}-(\d) .*", lambda m: f"server {m[0].split()[1]} 127.0.0.1:{port + public + int(m[1])} "
                  f"port {port + admin + int(m[1])}", text)
print(text)
EOF
"$HAPROXY" -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
pids[haproxy]=$!
until_ok curl -sf "127.0.0.1:$front/openapi.json"
for server in edges,edge-1 edges,edge-2 api,control-1 api,control-2; do until_ok is_up ${server/,/ }; done

python3 "$here/try_rolling_load.py" "http://127.0.0.1:$front" "$work/started" >"$work/load.out" &
load=$!
pids[load]=$load
until_ok test -e "$work/started"
restart api control-1 control
restart edges edge-1 edge
restart api control-2 control
restart edges edge-2 edge
wait $load && loaded=0 || loaded=$?
unset "pids[load]"
cat "$work/load.out"
reconcile() { AOS_DATABASE_URL=$(of_role affiliateos_app) AOS_REDIS_URL=$control_redis "$BIN/control-plane" reconcile --settled; }
until_ok reconcile
reconcile
stored=$(psql -At "$(of_role affiliateos_readonly)" -c 'SELECT count(*) FROM clicks')
acknowledged=$(sed -n 's/^clicks acknowledged: //p' "$work/load.out")
doubled=$(psql -At "$(of_role affiliateos_readonly)" -c 'SELECT count(*) - count(DISTINCT (spool_tag, seq)) FROM clicks')
echo "acknowledged $acknowledged, stored $stored, lost $((acknowledged > stored ? acknowledged - stored : 0)), more than acknowledged $((stored > acknowledged ? stored - acknowledged : 0)), doubled $doubled"
denied=$(cat "$work"/*.log | grep -ciE 'NOPERM|permission denied|WRONGPASS' || true)
echo "refused by Redis users or Postgres roles: $denied lines"
[ $loaded = 0 ] && [ "$stored" = "$acknowledged" ] && [ "$doubled" = 0 ] && [ "$denied" = 0 ]
