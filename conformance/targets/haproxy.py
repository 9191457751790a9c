"""HAProxy's process: what its two adapters have in common."""
import os
import signal

import adapter

BASE = """global
    log stdout format raw daemon
    stats socket unix@cli.sock mode 600 level admin expose-fd listeners
    ssl-default-bind-options ssl-min-ver TLSv1.2
    tune.ssl.capture-buffer-size 1024
    tune.bufsize {bufsize}
"""


class HAProxy(adapter.Server):
    name = "haproxy"
    drain_signal = signal.SIGUSR1

    def version(self):
        return adapter.program_version(["haproxy", "-v"], r"HAProxy version (\S+)")

    def command(self):
        return ["haproxy", "-db", "-f", "haproxy.cfg"]

    def check(self):
        return ["haproxy", "-c", "-f", "haproxy.cfg"]

    def take(self, state, port, before):
        # A new process takes the sockets over (-x) and then tells the old one to finish what it has (-sf); the old one keeps its
        # configuration and its tunnels.
        old = state["pid"]
        state["pid"] = self.launch(port, self.command() + ["-x", "cli.sock", "-sf", str(old)])
        state["sessions"].append(state["pid"])
        self.save(state)
        adapter.wait(lambda: not adapter.listeners(state["port"], {old}), adapter.START_SECONDS, "the old process to stop listening")

    def pem(self, certificate, index):
        """A certificate and its key in one file, as HAProxy wants them."""
        name = f"cert{index}.pem"
        with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            for part in ("cert", "key"):
                with open(certificate[part]) as p:
                    f.write(p.read().rstrip() + "\n")
        return name

    def pems(self, config):
        return [self.pem(c, i) for i, c in enumerate(config.get("certificates") or [])]
