#!/bin/bash
# Makes a data folder where there is none and runs MariaDB. It does what the official image's documentation
# (mariadb.com/kb, "MariaDB Docker environment variables") says of its variables, by their MARIADB_ and their MYSQL_ names; README.md beside
# it has what is left out.
set -Eeuo pipefail
shopt -s nullglob

fail() { printf 'docker-entrypoint.sh: %s\n' "$*" >&2; exit 1; }
note() { printf 'docker-entrypoint.sh: %s\n' "$*" >&2; }

# variable NAME [DEFAULT]: sets NAME from MARIADB_NAME, MYSQL_NAME, the file that one of them with _FILE names, or to DEFAULT.
variable() {
  local prefix name file value=${2:-}
  for prefix in MYSQL MARIADB; do
    name=${prefix}_$1 file=${prefix}_$1_FILE
    if [ -n "${!file:-}" ]; then
      [ -z "${!name:-}" ] || fail "both $name and $file are set; set one of them"
      [ -r "${!file}" ] || fail "$file names ${!file}, which cannot be read"
      value=$(<"${!file}")
    elif [ -n "${!name:-}" ]; then
      value=${!name}
    fi
  done
  printf -v "$1" %s "$value"
  unset "MYSQL_$1" "MYSQL_$1_FILE" "MARIADB_$1" "MARIADB_$1_FILE"
}

# own_tls: the server reads the files as mysql; what is copied in is root's, perhaps 0600.
own_tls() {
  local file
  for file in /etc/tls/*; do
    { chown mysql:mysql "$file" && chmod 600 "$file"; } 2>/dev/null || note "$file stays as it is (a mount that is read-only?)"
  done
}

# literal TEXT: as a string of SQL.
literal() { local s=${1//\\/\\\\}; printf "'%s'" "${s//\'/\'\'}"; }
# identifier TEXT: as a name of SQL.
identifier() { printf '`%s`' "${1//\`/\`\`}"; }

# run_sql ARGUMENT...: as root, by the socket. The password is not on a command line, where everybody reads it.
run_sql() {
  MYSQL_PWD=$ROOT_PASSWORD mariadb --no-defaults --socket /run/mysqld/mysqld.sock --user root --default-character-set utf8mb4 \
    --comments --binary-mode "$@"
}

run_script() {
  local db=()
  [ -z "$DATABASE" ] || db=("--database=$DATABASE")
  note "running $1"
  case $1 in
    *.sh) if [ -x "$1" ]; then "$1"; else . "$1"; fi ;;
    *.sql) run_sql "${db[@]}" <"$1" ;;
    *.sql.gz) gzip -dc "$1" | run_sql "${db[@]}" ;;
    *.sql.xz) xz -dc "$1" | run_sql "${db[@]}" ;;
    *.sql.zst) zstd -dc "$1" | run_sql "${db[@]}" ;;
    *) note "$1 is none of *.sh, *.sql, *.sql.gz, *.sql.xz, *.sql.zst: left alone" ;;
  esac
}

# accounts writes the SQL for what the variables ask for.
accounts() {
  local password
  password=$(literal "$ROOT_PASSWORD")
  echo "SET @@SESSION.SQL_LOG_BIN=0, @@SESSION.SQL_MODE=REPLACE(@@SQL_MODE, 'NO_BACKSLASH_ESCAPES', '');"
  # mariadb-install-db makes root for these as well, without a password.
  echo "DROP USER IF EXISTS 'root'@'127.0.0.1', 'root'@'::1', 'root'@$(literal "$(hostname)");"
  echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $password;"
  if [ "$ROOT_HOST" != localhost ]; then
    echo "CREATE USER 'root'@$(literal "$ROOT_HOST") IDENTIFIED BY $password;"
    echo "GRANT ALL ON *.* TO 'root'@$(literal "$ROOT_HOST") WITH GRANT OPTION;"
  fi
  [ -z "$DATABASE" ] || echo "CREATE DATABASE IF NOT EXISTS $(identifier "$DATABASE");"
  if [ -n "$USER" ]; then
    echo "CREATE USER $(literal "$USER")@'%' IDENTIFIED BY $(literal "$PASSWORD");"
    # In the name of a database in a grant, _ and % stand for any letters.
    [ -z "$DATABASE" ] || { local db=${DATABASE//_/\\_}; echo "GRANT ALL ON $(identifier "${db//%/\\%}").* TO $(literal "$USER")@'%';"; }
  fi
}

# wait_socket PID: until the init server answers, or is gone.
wait_socket() {
  local left
  for ((left = 600; left > 0; left--)); do
    mariadb-admin --no-defaults --socket /run/mysqld/mysqld.sock --user root --silent ping >/dev/null 2>&1 && return
    kill -0 "$1" 2>/dev/null || fail "the server ended while it was initialised; what it said is above"
    sleep 0.2
  done
  fail "the server did not answer within two minutes while it was initialised; what it said is above"
}

create() {
  local script server
  if [ -n "$RANDOM_ROOT_PASSWORD" ]; then
    ROOT_PASSWORD=$(head -c 24 /dev/urandom | base64)
    note "the generated root password is $ROOT_PASSWORD"
  fi
  [ -n "$ROOT_PASSWORD$ALLOW_EMPTY_ROOT_PASSWORD" ] ||
    fail "MARIADB_ROOT_PASSWORD is not set, and root needs a password: docker run -e MARIADB_ROOT_PASSWORD=...; or say MARIADB_RANDOM_ROOT_PASSWORD=1 or MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=1"
  [ -z "$USER" ] || [ -n "$PASSWORD" ] || fail "MARIADB_USER is set to $USER, and MARIADB_PASSWORD is not; set both"
  [ "$USER" != root ] || fail "MARIADB_USER must not be root, which is there already; set another name, or leave it out"
  mariadb-install-db --datadir="$datadir" --auth-root-authentication-method=normal --skip-test-db --rpm >/dev/null
  # No TCP until all is there: a client that gets in finds everything.
  "$@" --skip-networking --socket=/run/mysqld/mysqld.sock &
  server=$!
  wait_socket "$server"
  # root has no password until these have run.
  accounts | ROOT_PASSWORD='' run_sql
  for script in /docker-entrypoint-initdb.d/*; do run_script "$script"; done
  kill "$server"
  wait "$server" || fail "the server did not end well after it was initialised; what it said is above"
  note "the database is initialised; it starts now"
}

# Options alone are the server's: docker run IMAGE --require-secure-transport=ON.
case ${1:-} in '' | -*) set -- mariadbd "$@" ;; esac
# Another command than the server, or one that starts none, is run as it is.
case $1 in mariadbd | mysqld) ;; *) exec "$@" ;; esac
for word; do
  case $word in -\? | --help | --verbose | -V | --version | --print-defaults) exec "$@" ;; esac
done

# Where the data go is the server's own to say: an option or a file of the user may have changed it.
datadir=$("$@" --verbose --help 2>/dev/null | awk '$1 == "datadir" {print $2; exit}')
datadir=${datadir%/}
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$datadir"
  find "$datadir" /run/mysqld ! -user mysql -exec chown mysql:mysql {} + 2>/dev/null || true
  own_tls
  exec setpriv --reuid=mysql --regid=mysql --init-groups env HOME=/var/lib/mysql "$0" "$@"
fi

variable ROOT_PASSWORD
variable ROOT_HOST %
variable ALLOW_EMPTY_ROOT_PASSWORD
variable ALLOW_EMPTY_PASSWORD
variable RANDOM_ROOT_PASSWORD
variable DATABASE
variable USER
variable PASSWORD
ALLOW_EMPTY_ROOT_PASSWORD+=$ALLOW_EMPTY_PASSWORD # its older name, MYSQL_ALLOW_EMPTY_PASSWORD
if [ -d "$datadir/mysql" ]; then
  note "$datadir has a database already: nothing is initialised"
else
  create "$@"
fi
exec "$@"
