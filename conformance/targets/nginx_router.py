#!/usr/bin/python3 -B
"""nginx as a router. Packages nginx and libnginx-mod-stream.

A first server of the stream module reads the ClientHello (ssl_preread) and picks an inner server by name and ALPN. nginx 1.22 has one set of
TLS settings a server, so that each name with each kind of client authentication has an inner server of its own, which gets the client's
address in a PROXY header. An unknown name goes to a server of the HTTP module that does nothing but refuse handshakes: the stream module
of 1.22 cannot. Half-close is on where bytes are passed through only: with TLS, nginx then ends the stream without close_notify.
"""
import copy
import os
import signal

import adapter
import routes
from adapter import asks, milliseconds

MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


class Router(adapter.Server):
    name, role = "nginx", "router"
    features = ["terminate", "passthrough", "mtls", "hello-timeout", "proxy-in", "proxy-out", "backend-tls", "drain", "reload"]
    settings = copy.deepcopy(routes.SETTINGS)
    reload_signal, drain_signal = signal.SIGHUP, signal.SIGQUIT

    def version(self):
        return adapter.program_version(["nginx", "-v"], r"nginx/(\S+)")

    def command(self):
        return ["nginx", "-p", ".", "-e", "stderr", "-c", os.path.abspath("nginx.conf")]

    def check(self):
        return self.command() + ["-t"]

    def write(self, config, host, port):
        routes.check(config)
        limits, proxy = config.get("limits") or {}, config.get("proxy_protocol") or {}
        self.config, self.port, self.servers = config, port, []
        self.tells = any(asks(r["backend"].get("send_proxy")) for r in config.get("routes") or [])
        self.hello = milliseconds(limits.get("client_hello_timeout"), 10)
        table = routes.by_name(config)
        maps = "".join(self.alpn_map(i, name, rs) for i, (name, rs) in enumerate(table.items()))
        names = "".join(f"        {name or 'default'} $alpn{i};\n" for i, name in enumerate(table))
        networks = proxy.get("trusted") or []
        trusted, believed = "".join(f" {n} 1;" for n in networks), "".join(f" set_real_ip_from {n};" for n in networks)
        required = asks(proxy.get("mode"))
        count = [f"limit_conn_zone {key} zone={zone}:1m; limit_conn {zone} {limits[zone]};\n"
                 for zone, key in (("connections", "$server_port"), ("connections_per_ip", "$binary_remote_addr")) if limits.get(zone)]
        text = f"""load_module {MODULE};
{"user root;" if os.getuid() == 0 else ""}
daemon off;
pid nginx.pid;
worker_processes 2;
error_log stderr info;
events {{ worker_connections 8000; }}
http {{
    access_log off;
    server {{ listen {self.inner(0)} ssl proxy_protocol; ssl_reject_handshake on; }}
}}
stream {{
    log_format line '$remote_addr $ssl_preread_server_name $ssl_preread_alpn_protocols -> $upstream_addr $status $bytes_received $bytes_sent $session_time';
    variables_hash_max_size 4096;
    map_hash_bucket_size 256;
    proxy_connect_timeout 10s;
    proxy_timeout 24h;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_verify_depth 5;
    ssl_handshake_timeout {self.hello}ms;
    set_real_ip_from 127.0.0.1;
    set_real_ip_from unix:;
{maps}{self.certificate_maps() if len(config.get("certificates") or []) > 1 else ""}    map $ssl_preread_server_name $by_name {{
        hostnames;
{names}    }}
    geo $realip_remote_addr $trusted {{ default {0 if required else 1};{trusted} }}
    map $trusted$ssl_preread_protocol $inner {{ default ""; ~^1. $by_name; }}
    server {{
        listen {host}:{port}{" proxy_protocol" if required else ""};{believed if required else ""}
        access_log stderr_log line;
        ssl_preread on;
        preread_timeout {self.hello}ms;
        preread_buffer_size {limits.get("client_hello_bytes") or 65536};
        {" ".join(c.partition("; ")[2].strip() for c in count)}
        proxy_half_close on;
        proxy_protocol on;
        proxy_pass $inner;
    }}
{"".join("    " + c.partition("; ")[0] + ";" + chr(10) for c in count)}{"".join(self.servers)}}}
"""
        with open("nginx.conf", "w") as f:
            f.write(text.replace("stderr_log", "log"))

    def inner(self, number):
        """Where an inner server listens. On a socket of the directory nothing is lost when it ends first. But what nginx writes into a PROXY
        header there is the path of the socket, so where backends are told addresses it is TCP, on the router's own port."""
        return f"127.77.{number >> 8}.{number & 255}:{self.port}" if self.tells else f"unix:inner{number}.sock"

    def alpn_map(self, number, name, rs):
        """Which inner server a name leads to, by the list of ALPN names: the first route that takes one of them. The last resort is the
        first server that ends TLS: its handshake says that there is no common protocol."""
        places, lines, last = {}, "", ""
        for r in rs:
            backend, group = r["backend"], [r]
            if r["mode"] == "terminate":
                group = [o for o in rs if o["mode"] == "terminate" and routes.auth(o) == routes.auth(r) and same_way(o, r)]
            key = id(group[0])
            if key not in places:
                places[key] = self.inner(len(self.servers) + 1)
                self.servers.append(self.server(places[key], name, group, f"{number}_{len(places)}", backend))
            if r["mode"] == "terminate":
                last = last or places[key]
            if not r.get("alpn"):
                lines += f"        ~^ {places[key]};\n"  # whatever is offered; an expression never meets the empty list
            else:
                names = "|".join(r["alpn"]).replace(".", "\\.")
                lines += f"        \"~(^|,)({names})(,|$)\" {places[key]};\n"
            if routes.takes_silence(r) and '"" ' not in lines:
                lines += f'        "" {places[key]};\n'
        return f"    map $ssl_preread_alpn_protocols $alpn{number} {{\n{lines}        default {last if name and last else self.inner(0)};\n    }}\n"

    def certificate(self, name):
        """The two files for a name; two variables where every name may come."""
        certificates = self.config["certificates"]
        if not name and len(certificates) > 1:
            return "$certificate", "$certificate_key"
        cert = routes.certificate_for([c["cert"] for c in certificates], name)
        return cert, next(c["key"] for c in certificates if c["cert"] == cert)

    def certificate_maps(self):
        text = ""
        for variable, part in (("certificate", "cert"), ("certificate_key", "key")):
            chosen = {}
            for c in self.config.get("certificates") or []:
                for name in adapter.certificate_names(c["cert"]):
                    chosen.setdefault(name, c[part])
            lines = "".join(f"        {name} {file};\n" for name, file in chosen.items())
            text += f"    map $ssl_server_name ${variable} {{\n        hostnames;\n{lines}        default {self.config['certificates'][0][part]};\n    }}\n"
        return text

    def server(self, listen, name, group, suffix, backend):
        way = "proxy_protocol on;\n        " if asks(backend.get("send_proxy")) else ""
        if asks(backend.get("tls")):
            server = backend.get("server_name") or backend["address"].rpartition(":")[0]
            way += f"proxy_ssl on; proxy_ssl_verify on; proxy_ssl_server_name on; proxy_ssl_name {server};\n"
            way += f"        proxy_ssl_trusted_certificate {backend.get('ca') or '/etc/ssl/certs/ca-certificates.crt'};\n        "
        if group[0]["mode"] != "terminate":
            return f"    server {{\n        listen {listen} proxy_protocol;\n        {way}proxy_half_close on;\n        proxy_pass {backend['address']};\n    }}\n"
        mode, ca = routes.auth(group[0])
        cert, key = self.certificate(name)
        tls = f"ssl_certificate {cert}; ssl_certificate_key {key};\n        "
        if mode != "none":
            tls += f"ssl_client_certificate {ca}; ssl_verify_client {'on' if mode == 'require' else 'optional'};\n        "
        alpn = list(dict.fromkeys(a for r in group for a in r.get("alpn") or []))
        tls += f"ssl_alpn {' '.join(alpn)};\n        " if alpn else ""
        lines = ""
        for r in reversed(group):  # the first route of the table is to win
            for value in (r.get("alpn") or []) + ([""] if routes.takes_silence(r) else []):
                lines = f"        \"{value}\" {r['backend']['address']};\n" + "".join(old for old in lines.splitlines(True) if not old.startswith(f'        "{value}" '))
        return f"""    map $ssl_alpn_protocol $backend{suffix} {{
{lines}    }}
    server {{
        listen {listen} ssl proxy_protocol;
        {tls}{way}proxy_pass $backend{suffix};
    }}
"""


def same_way(a, b):
    return {**a["backend"], "address": ""} == {**b["backend"], "address": ""}


if __name__ == "__main__":
    Router().main()
