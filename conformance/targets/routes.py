"""The table of a router's document, in the shape that the adapters of routers write it down in."""
from adapter import ANY, Unsupported, asks, certificate_names

# What both HAProxy and nginx can be told; each adds what it can do beyond this. No product here has an upgrade endpoint, so limits of HTTP
# headers and the trust in X-Forwarded-For bind nothing. Nor does one have the admin port: that the answer to start names none says so.
SETTINGS = {
    "listen": ANY,
    "admin": ANY,
    "certificates": [{"cert": ANY, "key": ANY}],
    "routes": [{
        "name": ANY, "sni": ANY, "alpn": ANY, "mode": {"terminate", "passthrough"},
        "client_auth": {"mode": {"require", "request"}, "ca": ANY},
        "backend": {"address": ANY, "tls": {"on"}, "ca": ANY, "server_name": ANY, "send_proxy": {"v1"}},
    }],
    "proxy_protocol": {"mode": {"required"}, "trusted": ANY},
    "forwarded_for": {"trusted": ANY},
    "limits": {"client_hello_timeout": ANY, "client_hello_bytes": ANY, "connections": ANY, "connections_per_ip": ANY, "header_bytes": ANY},
    "drain": {"timeout": ANY},
}


def check(config):
    """Refuses what the tables of settings cannot say."""
    upgrade = config.get("upgrade") or {}
    if upgrade and upgrade.get("types") != []:  # without types all of them are meant
        raise Unsupported("there is no upgrade endpoint: leave config.upgrade out, or its types empty")
    for route in config.get("routes") or []:
        for name in (route.get("sni") or []) + (route.get("alpn") or []):
            if "*" in name.removeprefix("*.") or name == "*." or any(c in name for c in ' ",\\{};$'):
                raise Unsupported(f"route {route['name']}: only names and *.names can be written down, not {name!r}")
        if route["mode"] == "terminate" and not config.get("certificates"):
            raise Unsupported(f"route {route['name']} ends TLS, and there is no certificate")
        auth = route.get("client_auth") or {}
        if asks(auth.get("mode")) and not auth.get("ca"):
            raise Unsupported(f"route {route['name']} asks for a client certificate and names no authority")


def by_name(config):
    """The routes that may be meant by each name: those of the name itself, then those that have none. Exact names come first, then the
    longest wildcard, and "" for every other name and none."""
    routes = config.get("routes") or []
    nameless = [r for r in routes if not r.get("sni")]
    names = []
    for r in routes:
        names += [n.lower() for n in r.get("sni") or [] if n.lower() not in names]
    names.sort(key=lambda n: (n.startswith("*."), -len(n)))
    table = {n: [r for r in routes if n in [s.lower() for s in r.get("sni") or []]] + nameless for n in names}
    return {**table, "": nameless}


def takes_silence(route):
    """A ClientHello without ALPN counts as one that offers http/1.1."""
    return not route.get("alpn") or "http/1.1" in route["alpn"]


def auth(route):
    a = route.get("client_auth") or {}
    return (a.get("mode") if asks(a.get("mode")) else "none", a.get("ca"))


def certificate_for(pems, name):
    """The file to show to who asks for a name: the first that covers it, else the first of all."""
    def covers(have):
        return have == name or (have.startswith("*.") and not name.startswith("*.") and name.partition(".")[2] == have[2:])
    return next((p for p in pems if name and any(covers(n) for n in certificate_names(p))), pems[0])
