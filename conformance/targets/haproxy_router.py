#!/usr/bin/python3 -B
"""HAProxy as a router. Package haproxy.

A first frontend looks at the ClientHello and passes what is not to be ended here. The rest goes through a socket of the directory, with
its PROXY header, to a second frontend that ends TLS: one line of a crt-list for each name, with its certificate, its ALPN names and the
authority of its clients. Names that only a route without names can take have a third frontend.
"""
import copy

import routes
from adapter import asks, milliseconds
from haproxy import BASE, HAProxy

SETTINGS = copy.deepcopy(routes.SETTINGS)
SETTINGS["routes"][0]["backend"]["send_proxy"] = {"v1", "v2"}


class Router(HAProxy):
    role = "router"
    features = ["terminate", "passthrough", "mtls", "hello-timeout", "proxy-in", "proxy-out", "backend-tls", "drain", "reload"]
    settings = SETTINGS

    def write(self, config, host, port):
        routes.check(config)
        self.limits, self.proxy = config.get("limits") or {}, config.get("proxy_protocol") or {}
        self.hello = milliseconds(self.limits.get("client_hello_timeout"), 10)
        self.pem_files = self.pems(config)
        self.index = {id(r): i for i, r in enumerate(config.get("routes") or [])}
        table = routes.by_name(config)
        with open("crt-list", "w") as f:
            f.writelines(self.crt_line(name, rs) for name, rs in table.items() if name and any(ends(r) for r in rs))
        text = BASE.format(bufsize=max(16384, self.limits.get("client_hello_bytes") or 65536))
        text += f"""defaults
    mode tcp
    log global
    option tcplog
    timeout connect 10s
    retries 0
    timeout client {self.hello}ms
    timeout server 1h
    timeout tunnel 24h
"""
        text += self.front(f"{host}:{port}", table) + self.terminators(table)
        text += "".join(self.backend(r) for r in config.get("routes") or []) + "backend refuse\n"
        with open("haproxy.cfg", "w") as f:
            f.write(text)

    def front(self, listen, table):
        """The frontend that looks at the ClientHello. What is no TLS, or silent, is closed. A first record that is too short to tell the kind of
        its message is not waited for: HAProxy looks at one record only, and whoever ends TLS will read the others."""
        text = f"frontend front\n    bind {listen}\n"
        if asks(self.proxy.get("mode")):
            trusted = " ".join(self.proxy.get("trusted") or ["255.255.255.255"])
            text += f"    tcp-request connection reject unless {{ src {trusted} }}\n    tcp-request connection expect-proxy layer4\n"
        if self.limits.get("connections"):
            text += f"    maxconn {self.limits['connections'] + 100}\n    tcp-request session reject if {{ fe_conn gt {self.limits['connections']} }}\n"
        if self.limits.get("connections_per_ip"):
            text += "    stick-table type ipv6 size 100k expire 1h store conn_cur\n    tcp-request session track-sc0 src\n"
            text += f"    tcp-request session reject if {{ sc0_conn_cur gt {self.limits['connections_per_ip']} }}\n"
        text += f"""    tcp-request inspect-delay {self.hello}ms
    tcp-request content reject if {{ req.len gt 0 }} !{{ req.payload(0,1),hex -m str 16 }}
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    tcp-request content accept if {{ req.payload(3,2),hex -m str 0001 0002 0003 }}
    tcp-request content reject if {{ req.len 0 }} WAIT_END
"""
        default = "terminate"
        for name, rs in table.items():
            own = [r for r in rs if name and r.get("sni")]
            for r in rs:
                if not ends(r):
                    text += use(f"r{self.index[id(r)]}", is_name("req.ssl_sni", name) + offers(r))
            # Who asks for nothing but what a route without names takes need not show the certificate that this name's routes want.
            nameless = sorted({a for r in rs if r not in own and ends(r) for a in r.get("alpn") or []} - {a for r in own for a in r.get("alpn") or []})
            if nameless:
                one = "|".join(nameless).replace(".", "\\.")
                text += use("any", is_name("req.ssl_sni", name) + f" {{ req.ssl_alpn -m reg ^({one})(,({one}))*$ }}")
            if own and any(ends(r) for r in own):
                text += use("terminate", is_name("req.ssl_sni", name))
            if not name and any(ends(r) and not r.get("alpn") for r in rs):
                default = "any"
        return text + f"    default_backend {default}\n"

    def terminators(self, table):
        """The two frontends that end TLS, and the way to them."""
        text = ""
        any_alpn = alpn_list(table[""])
        if any(name and any(ends(r) for r in rs) for name, rs in table.items()):
            text += "backend terminate\n    server here unix@terminate.sock send-proxy-v2\nfrontend terminate\n"
            text += "    bind unix@terminate.sock accept-proxy ssl crt-list crt-list strict-sni\n"
            text += self.choose({n: rs for n, rs in table.items() if n})
        else:
            text += "backend terminate\n"  # nobody there: the connection is closed
        if any(ends(r) for r in table[""]):
            text += "backend any\n    server here unix@any.sock send-proxy-v2\nfrontend any\n    bind unix@any.sock accept-proxy ssl"
            text += "".join(f" crt {p}" for p in self.pem_files) + (f" alpn {any_alpn}" if any_alpn else "") + verify(table[""]) + "\n"
            text += self.choose({"": table[""]})
        return text

    def choose(self, table):
        """The backend by what was negotiated. HAProxy 2.6 completes the handshake when no ALPN is common, so that the list of extensions
        has to tell such a client from one that offered none."""
        text = "    acl offered ssl_fc_extlist_bin,hex -m reg ^(....)*0010\n"
        for name, rs in table.items():
            sni = is_name("ssl_fc_sni", name)
            for r in filter(ends, rs):
                if r.get("alpn"):
                    text += use(f"r{self.index[id(r)]}", f"{sni} {{ ssl_fc_alpn -m str {' '.join(r['alpn'])} }}")
                if routes.takes_silence(r):
                    text += use(f"r{self.index[id(r)]}", sni + (" !offered" if r.get("alpn") else ""))
            text += use("refuse", sni)
        return text

    def crt_line(self, name, rs):
        own = [r for r in rs if ends(r)]
        alpn = alpn_list(own)
        options = (f"alpn {alpn}" if alpn else "") + verify([r for r in own if r.get("sni")] or own)
        return f"{routes.certificate_for(self.pem_files, name)} [{options.strip()}] {name}\n"

    def backend(self, r):
        b = r["backend"]
        text = f"backend r{self.index[id(r)]}\n    server {r['name']} {b['address']}"
        if asks(b.get("send_proxy")):
            text += {"v1": " send-proxy", "v2": " send-proxy-v2"}[b["send_proxy"]]
        if asks(b.get("tls")):
            name = b.get("server_name") or b["address"].rpartition(":")[0]
            text += f" ssl verify required ca-file {b.get('ca') or '@system-ca'} sni str({name}) verifyhost {name}"
        return text + "\n"


def ends(route):
    return route["mode"] == "terminate"


def use(backend, conditions):
    return f"    use_backend {backend} if{conditions}\n" if conditions else f"    use_backend {backend}\n"


def is_name(fetch, name):
    if not name:
        return ""
    return f" {{ {fetch} -m end -i {name[1:]} }}" if name.startswith("*.") else f" {{ {fetch} -m str -i {name} }}"


def offers(route):
    names = "|".join(route.get("alpn") or []).replace(".", "\\.")
    return f" {{ req.ssl_alpn -m reg (^|,)({names})(,|$) }}" if names else ""


def alpn_list(rs):
    return ",".join(dict.fromkeys(a for r in rs if ends(r) for a in r.get("alpn") or []))


def verify(rs):
    modes = {routes.auth(r) for r in rs if ends(r)}
    if len(modes) > 1:
        raise routes.Unsupported("routes of one name that ask for different client certificates: HAProxy asks before it knows the ALPN")
    mode, ca = modes.pop() if modes else ("none", None)
    return "" if mode == "none" else f" ca-file {ca} verify {'required' if mode == 'require' else 'optional'}"


if __name__ == "__main__":
    Router().main()
