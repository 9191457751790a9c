#!/usr/bin/python3 -B
"""HAProxy as a load balancer. Package haproxy."""
from adapter import ANY, milliseconds
from haproxy import BASE, HAProxy


class Balancer(HAProxy):
    role = "lb"
    features = ["upgrade", "websocket", "alpn", "alpn-ping"]
    settings = {
        "listen": ANY, "idle_timeout": ANY, "certificates": [{"cert": ANY, "key": ANY}],
        "targets": [{"address": ANY, "tls": {True}}],
    }

    def write(self, config, host, port):
        idle = milliseconds(config.get("idle_timeout"), 60)
        text = BASE.format(bufsize=80 << 10) + f"""defaults
    mode http
    log global
    option httplog
    timeout connect 10s
    retries 0
    timeout http-request 10s
    timeout client {idle}ms
    timeout server {idle}ms
    timeout tunnel {idle}ms
frontend front
    bind {host}:{port} ssl{"".join(f" crt {p}" for p in self.pems(config))} alpn h2,http/1.1
    option forwardfor
    http-request deny deny_status 405 if METH_TRACE
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Port %[dst_port]
    default_backend target
backend target
"""
        for i, t in enumerate(config["targets"]):
            text += f"    server t{i} {t['address']}" + (" ssl verify none" if t.get("tls") else "") + "\n"
        with open("haproxy.cfg", "w") as f:
            f.write(text)


if __name__ == "__main__":
    Balancer().main()
