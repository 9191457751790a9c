#!/bin/bash
# Runs OpenSSH's server for one account. There is no official image to follow; these are our own:
#
#   SSHD_USER             the account, made at the start (tlsroute)
#   SSHD_AUTHORIZED_KEYS  lines of authorized_keys; or the file /etc/ssh/authorized_keys.d/USER, copied or mounted
#   /etc/ssh/keys/host_key  the host's private key; without one an Ed25519 key is made at the start
#   arguments             go on to sshd: docker run IMAGE -o HostCertificate=/etc/ssh/keys/host_key-cert.pub
set -Eeuo pipefail

fail() { printf 'docker-entrypoint.sh: %s\n' "$*" >&2; exit 1; }

case ${1:-} in '' | -*) set -- sshd "$@" ;; esac
[ "$1" = sshd ] || exec "$@"
shift
[ "$(id -u)" = 0 ] || fail "sshd has to start as root, to become the account that logs in: leave out docker run --user"

user=${SSHD_USER:-tlsroute} keys=${SSHD_AUTHORIZED_KEYS:-}
[[ $user =~ ^[a-z_][a-z0-9_-]{0,31}$ ]] || fail "SSHD_USER is \"$user\"; an account's name is a small letter, then small letters, digits, - and _"
# The password "*" lets no password in; "!", useradd's own, would make the account a locked one, which sshd refuses whatever the key.
id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --password '*' "$user"
file=/etc/ssh/authorized_keys.d/$user
if [ -n "$keys" ]; then
  printf '%s\n' "$keys" >"$file" || fail "SSHD_AUTHORIZED_KEYS cannot be written to $file; copy or mount the file, or set the variable, not both"
fi
[ -s "$file" ] || fail "nobody could log in: set SSHD_AUTHORIZED_KEYS to the lines of an authorized_keys file, or put that file at $file"
# sshd reads it as the account. What is mounted read-only has to be readable already.
chmod 644 "$file" 2>/dev/null || true

host=/etc/ssh/keys/host_key
[ -s "$host" ] || ssh-keygen -q -t ed25519 -N '' -C '' -f "$host"
# sshd leaves a private key that others can read.
chown root:root "$host" 2>/dev/null && chmod 600 "$host" 2>/dev/null || true
echo "docker-entrypoint.sh: the host key is $(ssh-keygen -l -f "$host")" >&2

# -D: it stays process 1; -e: its log is the container's. The environment is not for the sessions: sshd makes theirs anew.
unset SSHD_AUTHORIZED_KEYS
exec /usr/sbin/sshd -D -e -o "AllowUsers=$user" "$@"
