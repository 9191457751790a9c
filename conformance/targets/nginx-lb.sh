#!/bin/sh
# nginx as a load balancer: a complete adapter in shell. Packages nginx and jq.
set -eu

# say prints one answer and ends; fail, refuse and ok are its three kinds.
say() { jq -cn --arg status "$1" --arg message "$2" '{$status, $message}'; exit 0; }
refuse() { say unsupported "$1"; }
fail() { say error "$1"; }
ok() { jq -cn '{status: "ok"}'; exit 0; }

features='["upgrade","websocket","alpn","alpn-ping"]'
# A target file may claim more, as in "command: [./nginx-lb.sh, --claim, aws-alb]".
if [ "${1-}" = --claim ]; then
	shift
	features=$(jq -cn --argjson features "$features" '$features + $ARGS.positional' --args "$@")
fi

request=$(cat)
ask() { printf '%s' "$request" | jq -r "$@"; }

verb=$(ask '.verb // ""')
if [ "$verb" = describe ]; then
	version=$(nginx -v 2>&1 | sed 's|.*nginx/\([^ ]*\).*|\1|')
	jq -cn --arg version "$version" --argjson features "$features" '{name: "nginx", $version, role: "lb", $features}'
	exit 0
fi

dir=$(ask '.dir // ""')
cd "$dir"

master() { cat nginx.pid 2>/dev/null || true; }
alive() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }
# The workers that take connections: one that only finishes what it has says so in its title.
workers() { ps -o pid=,args= --ppid "$1" | awk '/worker process$/ {print $1}' | sort; }

# until_true repeats a command until it succeeds, for ten seconds at most.
until_true() {
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 500 ] || return 1
		sleep 0.02
	done
}

# check_config refuses what this adapter cannot do, instead of passing over it: a feature it does not have, a setting it does not know.
check_config() {
	missing=$(ask --argjson have "$features" '(.config.require // []) - $have | join(", ")')
	[ -z "$missing" ] || refuse "nginx as a load balancer does not have: $missing"
	unknown=$(ask '.config | [paths(scalars) | map(if type == "number" then "[]" else . end) | join(".")] | unique
		- ["listen", "idle_timeout", "certificates.[].cert", "certificates.[].key", "targets.[].address", "targets.[].tls", "require.[]"] | join(", ")')
	[ -z "$unknown" ] || refuse "this adapter does not know config.$unknown"
	[ "$(ask '.config.certificates | length')" = 1 ] || refuse "this adapter configures exactly one certificate"
	[ "$(ask '[.config.targets[].tls] | unique | length')" = 1 ] || refuse "targets with TLS and without it, in one group"
}

# write_config writes nginx.conf for an address. An upgrade crosses nginx only when both of its fields are passed on by name and the target is
# spoken to in HTTP/1.1.
write_config() {
	ask --arg listen "$1" --arg dir "$dir" --arg user "$([ "$(id -u)" != 0 ] || echo 'user root;')" '
		def milliseconds: [scan("([0-9.]+)(h|ms|m|s)")] | map((.[0] | tonumber) * {h: 3600000, m: 60000, s: 1000, ms: 1}[.[1]]) | add | floor;
		.config | ((.idle_timeout // "60s") | milliseconds) as $idle
		| (if .targets[0].tls then "https" else "http" end) as $scheme
		| "\($user)
daemon off;
pid \($dir)/nginx.pid;
worker_processes 2;
error_log stderr notice;
events { worker_connections 8000; }
http {
    access_log log;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    map $http_upgrade $connection_upgrade { default upgrade; \"\" \"\"; }
    upstream target { zone target 64k; \(.targets | map("server \(.address);") | join(" ")) }
    server {
        listen \($listen) ssl http2;
        ssl_certificate \(.certificates[0].cert);
        ssl_certificate_key \(.certificates[0].key);
        ssl_protocols TLSv1.2 TLSv1.3;
        keepalive_timeout \($idle)ms;
        keepalive_requests 10000;
        large_client_header_buffers 4 16k;
        location / {
            proxy_pass \($scheme)://target;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_connect_timeout 10s;
            proxy_read_timeout \($idle)ms;
            proxy_send_timeout \($idle)ms;
            proxy_ssl_verify off;
            proxy_buffer_size 32k;
            proxy_buffers 4 32k;
            proxy_busy_buffers_size 64k;
        }
    }
}"' >nginx.conf
	nginx -p . -e stderr -c "$dir/nginx.conf" -t >check 2>&1 || fail "nginx refuses its configuration: $(cat check)"
}

# address is where to listen. Port 0 means any: the one in use, or one that nobody has now.
address() {
	listen=$(ask .config.listen)
	case $listen in
	*:0)
		[ ! -s listen ] || { cat listen; return; }
		port=$(awk -v seed="$$" 'BEGIN {srand(seed)} {split($2, a, ":"); used[a[2]] = 1}
			END {do p = 10000 + int(rand() * 20000); while (sprintf("%04X", p) in used); print p}' /proc/net/tcp)
		echo "${listen%0}$port" ;;
	*) echo "$listen" ;;
	esac
}

serving() { alive "$(master)" && [ -n "$(workers "$(master)")" ]; }
ended() { ! alive "$1"; }
# handed_over: there are workers, and none of those that were.
handed_over() {
	now=$(workers "$(master)")
	[ -n "$now" ] && ! printf '%s\n' "$now" | grep -qxF "$1"
}
no_workers() { [ -z "$(workers "$1")" ]; }

case $verb in
start)
	check_config
	listen=$(address)
	write_config "$listen"
	# in the foreground, but in a session of its own, so that it outlives this script and logs to a file of the directory
	setsid nginx -p . -e stderr -c "$dir/nginx.conf" >>log 2>&1 </dev/null &
	until_true serving || fail "nginx does not start: $(tail -n 5 log)"
	echo "$listen" >listen
	jq -cn --arg listen "$listen" --argjson pid "$(master)" '{status: "ok", $listen, $pid}'
	;;
reload)
	check_config
	alive "$(master)" || fail "nginx does not run: start comes first"
	listen=$(address)
	write_config "$listen"
	before=$(workers "$(master)")
	kill -HUP "$(master)"
	until_true handed_over "$before" || fail "nginx goes on with its old configuration: $(tail -n 5 log)"
	echo "$listen" >listen
	ok
	;;
drain)
	pid=$(master)
	alive "$pid" || fail "nginx does not run: start comes first"
	kill -QUIT "$pid"
	until_true no_workers "$pid" || fail "nginx still takes connections"
	ok
	;;
stop)
	pid=$(master)
	alive "$pid" || ok # it has ended by itself, or never started
	kill -TERM "$pid"
	until_true ended "$pid" || { pkill -KILL -s "$pid"; fail "nginx did not end, and was killed"; }
	ok
	;;
logs)
	tail -c 65536 log 2>/dev/null | jq -cRs '{status: "ok", text: .}'
	;;
*)
	refuse "nginx as a load balancer has no verb $verb"
	;;
esac
