#!/bin/bash
# Makes a cluster in an empty PGDATA and runs PostgreSQL. It does what the official image's documentation (hub.docker.com/_/postgres) says of
# its variables; README.md beside it has what is left out.
set -Eeuo pipefail
shopt -s nullglob

fail() { printf 'docker-entrypoint.sh: %s\n' "$*" >&2; exit 1; }
note() { printf 'docker-entrypoint.sh: %s\n' "$*" >&2; }

# variable NAME [DEFAULT]: sets NAME from itself, from the file that NAME_FILE names, or to DEFAULT.
variable() {
  local name=$1 file=${1}_FILE
  if [ -n "${!file:-}" ]; then
    [ -z "${!name:-}" ] || fail "both $name and $file are set; set one of them"
    [ -r "${!file}" ] || fail "$file names ${!file}, which cannot be read"
    printf -v "$name" %s "$(<"${!file}")"
  else
    printf -v "$name" %s "${!name:-${2:-}}"
  fi
  export "${name?}"
  unset "$file"
}

# own_tls: the server takes a private key only when it is its own, or root's, and nobody else reads it; what is copied in is root's 0644.
own_tls() {
  local file
  for file in /etc/tls/*; do
    { chown postgres:postgres "$file" && chmod 600 "$file"; } 2>/dev/null || note "$file stays as it is (a mount that is read-only?)"
  done
}

run_sql() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --no-password --username "$POSTGRES_USER" "$@"; }

# run_script FILE: in the order of their names; a failure ends the start.
run_script() {
  note "running $1"
  case $1 in
    *.sh) if [ -x "$1" ]; then "$1"; else . "$1"; fi ;;
    *.sql) run_sql --dbname "$POSTGRES_DB" --file "$1" ;;
    *.sql.gz) gzip -dc "$1" | run_sql --dbname "$POSTGRES_DB" ;;
    *.sql.xz) xz -dc "$1" | run_sql --dbname "$POSTGRES_DB" ;;
    *.sql.zst) zstd -dc "$1" | run_sql --dbname "$POSTGRES_DB" ;;
    *) note "$1 is none of *.sh, *.sql, *.sql.gz, *.sql.xz, *.sql.zst: left alone" ;;
  esac
}

create() {
  local method=$POSTGRES_HOST_AUTH_METHOD wal=() script
  [ -n "$POSTGRES_PASSWORD" ] || [ "$method" = trust ] ||
    fail "POSTGRES_PASSWORD is not set, and the superuser needs a password: docker run -e POSTGRES_PASSWORD=...; POSTGRES_HOST_AUTH_METHOD=trust lets everybody in without one"
  [ "$method" != trust ] || note "POSTGRES_HOST_AUTH_METHOD=trust: whoever reaches the port is in, as any user, without a password"
  [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || wal=(--waldir "$POSTGRES_INITDB_WALDIR")
  # The options are words, as for a shell. An empty password is no password: initdb refuses an empty file.
  eval "set -- ${POSTGRES_INITDB_ARGS:-}"
  if [ -n "$POSTGRES_PASSWORD" ]; then
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${wal[@]}" "$@"
  else
    initdb --username="$POSTGRES_USER" "${wal[@]}" "$@"
  fi
  # initdb wrote what holds inside the container; this is for everybody else.
  [ -n "$method" ] || method=$(postgres -C password_encryption -D "$PGDATA" "${options[@]}")
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"

  # No TCP until all is there: a client that gets in finds everything. Of the server's own options the init server has all but these.
  pg_ctl --pgdata "$PGDATA" --wait --timeout 120 --silent --options "$(printf '%q ' "${options[@]}" -c listen_addresses= -p 5432)" start
  unset PGPASSWORD PGHOST PGHOSTADDR
  if [ "$POSTGRES_DB" != postgres ]; then
    run_sql --dbname postgres --set db="$POSTGRES_DB" <<<'SELECT format($$CREATE DATABASE %I$$, :'"'db'"') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'"'db'"') \gexec'
  fi
  for script in /docker-entrypoint-initdb.d/*; do run_script "$script"; done
  pg_ctl --pgdata "$PGDATA" --mode fast --wait --timeout 120 --silent stop
  note "the database is initialised; it starts now"
}

# Options alone are the server's: docker run IMAGE -c ssl=on.
case ${1:-} in '' | -*) set -- postgres "$@" ;; esac
# Another command than the server, or one that starts none, is run as it is.
[ "$1" = postgres ] || exec "$@"
for word; do
  case $word in -\? | --help | --describe-config | -V | --version) exec "$@" ;; esac
done

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  find "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} ! -user postgres -exec chown postgres:postgres {} + 2>/dev/null || true
  if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then install -d -m 700 -o postgres -g postgres "$POSTGRES_INITDB_WALDIR"; fi
  own_tls
  exec setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/var/lib/postgresql "$0" "$@"
fi

options=("${@:2}")
variable POSTGRES_PASSWORD
variable POSTGRES_USER postgres
variable POSTGRES_DB "$POSTGRES_USER"
variable POSTGRES_INITDB_ARGS
variable POSTGRES_HOST_AUTH_METHOD
if [ -s "$PGDATA/PG_VERSION" ]; then
  note "$PGDATA has a database already: nothing is initialised"
else
  create
fi
# The server needs none of it, and every session could read it.
unset POSTGRES_PASSWORD
exec "$@"
