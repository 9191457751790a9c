#!/bin/bash
# Builds the images of this folder in this machine's Docker engine; README.md says what is in them. An image whose label has the hash of
# what goes into it is left alone, so that a second run takes a second. Run it by "make images", which installs mmdebstrap.
#
# Environment: NAMESPACE (first part of the names), MIRROR and SECURITY_MIRROR (where the packages come from), FRESH=1 (build all anew).
set -euo pipefail
cd "$(dirname "$0")"

namespace=${NAMESPACE:-tlsroute-bench}
mirror=${MIRROR:-http://deb.debian.org/debian}
security=${SECURITY_MIRROR:-http://deb.debian.org/debian-security}
label=tlsroute-bench.inputs
# For the days of the last password change in /etc/shadow, and for the times in the bases.
export SOURCE_DATE_EPOCH=1704067200

fail() { echo "images: $*" >&2; exit 1; }
docker version >/dev/null 2>&1 || fail "no Docker engine answers \"docker version\"; start one (as root: service docker start), or set DOCKER_HOST"
command -v mmdebstrap >/dev/null || fail "mmdebstrap is missing; run: make images, or apt-get install mmdebstrap"
[ "$(id -u)" = 0 ] || fail "the bases are made by mmdebstrap as root; run: sudo make images"

# Two builds at the same time would do everything twice.
exec 9>/tmp/tlsroute-bench-images.lock
flock 9
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Where apt goes by a proxy on this machine, mmdebstrap and the builds have to as well. These are arguments that Docker itself knows: they
# are in no layer and in no history.
eval "$(apt-config shell apt_proxy Acquire::http::Proxy)"
[ -z "${apt_proxy:-}" ] || export http_proxy=$apt_proxy

inspect() { docker image inspect --format "$2" "$1" 2>/dev/null || true; }
# hash FOLDER WORD...: of its files with their modes, and of the words.
hash() { (cd "$1"; shift; printf '%s\n' "$@"; find . -type f -printf '%p %m\n' | sort; find . -type f | sort | xargs sha256sum) | sha256sum | cut -c1-64; }
fresh() { [ -z "${FRESH:-}" ] && [ "$(inspect "$1" "{{index .Config.Labels \"$label\"}}")" = "$2" ]; }
# replaced ID TAG: an image that was TAG before, and is not now, loses its other tags.
replaced() {
  [ -n "$1" ] && [ "$1" != "$(inspect "$2" '{{.Id}}')" ] || return 0
  local tags
  read -ra tags <<<"$(inspect "$1" '{{join .RepoTags " "}}')"
  [ ${#tags[@]} = 0 ] || docker image rm --no-prune "${tags[@]}" >/dev/null
}
# quiet NAME COMMAND...: what it says is shown only when it fails.
quiet() {
  local log=$scratch/$1.log
  shift
  "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; fail "$1 failed; the lines above are the end of what it said"; }
}

base() { # SUITE
  local tag=$namespace/debian:$1 inputs old
  inputs=$(hash debian "$1" "$mirror" "$security" "$SOURCE_DATE_EPOCH")
  if fresh "$tag" "$inputs"; then echo "$tag is up to date"; return; fi
  old=$(inspect "$tag" '{{.Id}}')
  quiet "debian-$1" debian/archive "$1" "$mirror" "$security" "$scratch/$1.tar"
  quiet "import-$1" docker import --change "LABEL $label=$inputs" --change "LABEL org.opencontainers.image.title=debian-$1" \
    --change 'ENV LANG=C.UTF-8' --change 'CMD ["bash"]' "$scratch/$1.tar" "$tag"
  rm -f "$scratch/$1.tar"
  replaced "$old" "$tag"
  echo "$tag is built"
}

image() { # NAME SUITE PACKAGE TAG ARG...: PACKAGE is the one whose version the image has; TAG its stable name; ARG a build argument
  local name=$1 suite=$2 from=$namespace/debian:$2 package=$3 tag=$namespace/$1:$4 inputs old arg packages version args=()
  shift 4
  inputs=$(hash "$name" "$(inspect "$from" '{{.Id}}')" "$@")
  if fresh "$tag" "$inputs"; then echo "$tag is up to date"; return; fi
  old=$(inspect "$tag" '{{.Id}}')
  for arg in "BASE=$from" "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" "$@"; do args+=(--build-arg "$arg"); done
  for arg in http_proxy https_proxy no_proxy; do [ -z "${!arg:-}" ] || args+=(--build-arg "$arg"); done
  # The host's network: a proxy or a mirror on 127.0.0.1 is there too.
  quiet "$name-$suite" docker build --network host ${FRESH:+--no-cache} "${args[@]}" --tag "$tag.bare" "$name"
  # The versions are those that the mirror had; they are known only now.
  packages=$(docker run --rm --network none --entrypoint dpkg-query "$tag.bare" --show --showformat '${Package}=${Version} ')
  version=$(grep -oP "(?<=\b$package=)\S+" <<<"$packages")
  echo "FROM $tag.bare" | quiet "label-$name-$suite" docker build --network none --label "$label=$inputs" \
    --label "org.opencontainers.image.version=$version" --label "tlsroute-bench.packages=${packages% }" --tag "$tag" -
  docker image rm "$tag.bare" >/dev/null
  # 1:10.11.19-0+deb12u1 is 10.11.19.
  version=${version#*:}
  docker tag "$tag" "$namespace/$name:${version%%[-+]*}"
  replaced "$old" "$tag"
  echo "$tag is built: $package $version"
}

# PostgreSQL 15 is in Debian 12 only, and 17 in Debian 13 only: hence two bases. They are built side by side.
bookworm() {
  base bookworm
  image postgres bookworm postgresql-15 15 MAJOR=15
  image mariadb bookworm mariadb-server 10.11
  image sshd bookworm openssh-server 9.2
  docker tag "$namespace/sshd:9.2" "$namespace/sshd:latest"
}
trixie() {
  base trixie
  image postgres trixie postgresql-17 17 MAJOR=17
}
# Both in the background: on the left of || they would go on after a failure, set -e or not.
bookworm & first=$!
trixie & second=$!
status=0
wait "$first" || status=1
wait "$second" || status=1
# Images of ours that have no name any more; the engine keeps those that a container still uses.
docker image prune --force --filter "label=$label" >/dev/null
exit "$status"
