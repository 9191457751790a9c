#!/usr/bin/python3 -B
"""Apache httpd as a load balancer. Package apache2. It carries HTTP only, so it cannot be a router."""
import math
import os
import signal

import adapter
from adapter import ANY, seconds

MODULES = "mpm_event authz_core ssl http2 headers slotmem_shm lbmethod_byrequests proxy proxy_http proxy_balancer".split()


class Balancer(adapter.Server):
    name, role = "apache", "lb"
    features = ["upgrade", "websocket", "alpn", "alpn-ping"]
    settings = {
        "listen": ANY, "idle_timeout": ANY, "certificates": [{"cert": ANY, "key": ANY}],
        "targets": [{"address": ANY, "tls": {True}}],
    }
    reload_signal, drain_signal = signal.SIGUSR1, signal.SIGWINCH
    stop_seconds = 1  # children from before a reload do not heed SIGTERM while they have tunnels

    def version(self):
        return adapter.program_version(["apache2", "-v"], r"Apache/(\S+)")

    def command(self):
        return ["apache2", "-d", os.getcwd(), "-f", os.path.abspath("apache.conf"), "-DFOREGROUND"]

    def check(self):
        return self.command() + ["-t"]

    def write(self, config, host, port):
        if len(config["certificates"]) != 1:
            raise adapter.Unsupported("this adapter configures exactly one certificate")
        here, idle = os.getcwd(), math.ceil(seconds(config.get("idle_timeout"), 60))
        members = "".join(f"        BalancerMember {'https' if t.get('tls') else 'http'}://{t['address']} upgrade=ANY retry=0\n" for t in config["targets"])
        text = "".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in MODULES) + f"""ServerName localhost
DefaultRuntimeDir {here}
PidFile {here}/apache.pid
ErrorLog {here}/log
LogLevel notice
# A tunnel keeps its thread.
StartServers 1
ServerLimit 16
ThreadsPerChild 250
ThreadLimit 250
MaxRequestWorkers 2000
Timeout {idle}
KeepAliveTimeout {idle}
TraceEnable off
LimitRequestLine 16384
LimitRequestFieldSize 16384
SSLSessionCache none
Listen {host}:{port}
<VirtualHost {host}:{port}>
    Protocols h2 http/1.1
    SSLEngine on
    SSLCertificateFile {config["certificates"][0]["cert"]}
    SSLCertificateKeyFile {config["certificates"][0]["key"]}
    SSLProxyEngine on
    SSLProxyVerify none
    SSLProxyCheckPeerCN off
    SSLProxyCheckPeerName off
    SSLProxyCheckPeerExpire off
    ProxyTimeout {idle}
    ProxyPreserveHost on
    RequestHeader set X-Forwarded-Proto https
    RequestHeader set X-Forwarded-Port {port}
    <Proxy balancer://target>
{members}    </Proxy>
    ProxyPass / balancer://target/
</VirtualHost>
"""
        with open("apache.conf", "w") as f:
            f.write(text)


if __name__ == "__main__":
    Balancer().main()
