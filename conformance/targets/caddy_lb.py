#!/usr/bin/python3 -B
"""Caddy as a load balancer. Package caddy. Debian's has no layer4 module, so it cannot be a router."""
import http.client
import json
import signal
import socket

import adapter
from adapter import ANY, milliseconds


class Balancer(adapter.Server):
    name, role = "caddy", "lb"
    features = ["upgrade", "websocket", "alpn", "alpn-ping"]
    settings = {
        "listen": ANY, "idle_timeout": ANY, "certificates": [{"cert": ANY, "key": ANY}],
        "targets": [{"address": ANY, "tls": {True}}],
    }
    drain_signal = signal.SIGTERM

    def version(self):
        return adapter.program_version(["caddy", "version"], r"v?([0-9]+\.[0-9]+\.\S+)")

    def command(self):
        return ["caddy", "run", "--config", "caddy.json"]

    def check(self):
        return ["caddy", "validate", "--config", "caddy.json"]

    def write(self, config, host, port):
        secure = {bool(t.get("tls")) for t in config["targets"]}
        if len(secure) != 1:
            raise adapter.Unsupported("targets with TLS and without it, in one group")
        default = adapter.certificate_names(config["certificates"][0]["cert"])[0]
        idle = f"{milliseconds(config.get('idle_timeout'), 60)}ms"  # of requests: a tunnel may be silent for ever before Caddy 2.7
        transport = {"protocol": "http", "versions": ["1.1"], "response_header_timeout": idle}
        if secure.pop():
            transport["tls"] = {"insecure_skip_verify": True}
        turns = {"selection_policy": {"policy": "round_robin"}}
        proxy = {"handler": "reverse_proxy", "load_balancing": turns, "headers": {"request": {"set": {"X-Forwarded-Port": [str(port)]}}}, "transport": transport, "upstreams": [{"dial": t["address"]} for t in config["targets"]]}
        no_trace = {"match": [{"method": ["TRACE"]}], "handle": [{"handler": "static_response", "status_code": "405"}], "terminal": True}
        front = {"idle_timeout": idle, "read_timeout": idle, "listen": [f"{host}:{port}"], "protocols": ["h1", "h2"], "automatic_https": {"disable": True}, "tls_connection_policies": [{"default_sni": default}], "max_header_bytes": 64 << 10, "routes": [no_trace, {"handle": [proxy]}]}
        document = {
            "admin": {"listen": "unix/admin.sock", "origins": ["localhost"], "config": {"persist": False}},
            "storage": {"module": "file_system", "root": "data"},
            "apps": {
                "tls": {"certificates": {"load_files": [{"certificate": c["cert"], "key": c["key"]} for c in config["certificates"]]}},
                "http": {"grace_period": "5s", "servers": {"front": front}},
            },
        }
        with open("caddy.json", "w") as f:
            json.dump(document, f, indent=2)

    def take(self, state, port, before):
        """The answer of /load comes when the new configuration runs."""
        class Admin(http.client.HTTPConnection):
            def connect(self):
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.settimeout(adapter.START_SECONDS)
                self.sock.connect("admin.sock")

        with open("caddy.json", "rb") as f:
            admin = Admin("localhost")
            admin.request("POST", "/load", f.read(), {"Content-Type": "application/json"})
        answer = admin.getresponse()
        if answer.status != 200:
            raise adapter.Failed(f"the admin interface answered {answer.status}: {answer.read(2000)!r}")


if __name__ == "__main__":
    Balancer().main()
