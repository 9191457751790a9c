#!/bin/sh
# Installs Debian packages that are missing, without letting their services start. Of a|b either will do, and b is installed.
set -eu
missing=""
for p in "$@"; do
  # shellcheck disable=SC2046
  dpkg-query -W -f '${Status}\n' $(echo "$p" | tr '|' ' ') 2>/dev/null | grep -q 'install ok installed' || missing="$missing ${p##*|}"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
  echo "the tests need these programs, as Debian packages:$missing" >&2; exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "missing packages; run: sudo apt-get install --no-install-recommends$missing" >&2; exit 1
fi
# Debian starts a server when it is installed; policy-rc.d says no (invoke-rc.d(8)). One that is there already is kept.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
