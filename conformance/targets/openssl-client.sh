#!/bin/sh
# An adapter for "openssl s_client" in the role client (DESIGN.md section 7). One JSON object on one line comes in; the first line that
# goes out is the answer, and from then on standard input and output are the tunnel.
set -eu

read -r request
string() { printf '%s' "$request" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; } # of a member that is a string
list() { printf '%s' "$request" | sed -n 's/.*"'"$1"'":\[\([^]]*\)\].*/\1/p' | tr -d '"'; }

case $(string verb) in
describe)
	version=$(openssl version | cut -d' ' -f2)
	printf '{"name":"openssl s_client","version":"%s","role":"client","features":[]}\n' "$version"
	;;
dial)
	case $(string upgrade) in
	auto | direct | '') ;;
	*)
		echo '{"status":"unsupported","message":"s_client knows no upgrade"}'
		exit 0
		;;
	esac
	alpn=$(list alpn)
	cert=$(string cert)
	key=$(string key)
	# The answer comes before the handshake: what becomes of that is seen in the tunnel.
	printf '{"status":"ok","class":"direct","alpn":"%s"}\n' "${alpn%%,*}"
	exec openssl s_client -quiet -no_ign_eof -nocommands -verify_return_error -verify_quiet \
		-verify_hostname "$(string sni)" \
		${cert:+-cert "$cert"} ${key:+-key "$key"} -connect "$(string address)" -servername "$(string sni)" ${alpn:+-alpn "$alpn"} -CAfile "$(string inner)"
	;;
*)
	exit 127
	;;
esac
