"""What the adapters in Python share: the protocol (DESIGN.md, section 7) and the life of a server.

An adapter makes a subclass of Server and calls its main(). The server runs in the foreground in a session of its own, with the private
directory as its working directory and its output in the file "log" there. Whether it listens is read from /proc, so no
connection is made to a server that would count it. Linux only.
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

ANY = ...  # in a table of settings: whatever the value is
START_SECONDS = 20  # for a server to listen, or to hand over; the slowest takes one
LOG_BYTES = 64 << 10


class Unsupported(Exception):
    """The product cannot do what is asked for."""


class Failed(Exception):
    """It should have worked."""


def asks(value):
    """Tells whether a setting asks for anything, or is left out, off or none."""
    if isinstance(value, dict):
        return any(asks(v) for v in value.values())
    return value not in (None, "", 0, False, "off", "none", "0s") and value != []


def refuse_unknown(value, known, path="config"):
    """Goes through a document: a setting that asks for something and is not in the table is refused, never passed over."""
    if known is ANY or not asks(value):
        return
    if isinstance(known, dict) and isinstance(value, dict):
        for key, v in value.items():
            refuse_unknown(v, known.get(key, set()), f"{path}.{key}")
    elif isinstance(known, list) and isinstance(value, list):
        for i, v in enumerate(value):
            refuse_unknown(v, known[0], f"{path}[{i}]")
    elif not (isinstance(known, set) and not isinstance(value, (dict, list)) and value in known):
        raise Unsupported(f"this adapter does not know {path}: {json.dumps(value)}")


def seconds(text, default):
    """A duration such as 1m30s, as Go writes it."""
    if not asks(text):
        return default
    units = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
    parts = re.findall(r"([0-9.]+)(h|ms|us|µs|ns|m|s)", text)
    if "".join(n + u for n, u in parts) != text:
        raise Failed(f"{text!r} is not a duration")
    return sum(float(n) * units[u] for n, u in parts)


def milliseconds(text, default):
    return max(1, round(seconds(text, default) * 1000))


def free_port(host):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        s.bind((host.strip("[]"), 0))
        return s.getsockname()[1]


def process_stat(pid):
    """State, parent and session of a process, or None."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1]), int(fields[3])


def members(sessions):
    """The processes that live in one of these sessions."""
    found = set()
    for name in os.listdir("/proc"):
        stat = process_stat(name) if name.isdigit() else None
        if stat and stat[0] not in "ZX" and stat[2] in sessions:
            found.add(int(name))
    return found


def listeners(port, pids):
    """Those of the processes that hold a socket which listens on the port."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as f:
            for line in f.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    found = set()
    for pid in pids:
        try:
            if any(_link(f"/proc/{pid}/fd/{fd}") in sockets for fd in os.listdir(f"/proc/{pid}/fd")):
                found.add(pid)
        except OSError:
            pass  # it has ended
    return found


def _link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def wait(condition, limit, what):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"waited {limit}s for {what}; the log ends: {tail(2000)}")
        time.sleep(0.01)


def tail(limit=LOG_BYTES):
    try:
        with open("log", "rb") as f:
            f.seek(max(0, os.path.getsize("log") - limit))
            return f.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


class Server:
    """A product in a role. Subclasses set the fields, write its configuration and know its command and signals."""

    name = role = ""
    features = []
    settings = {}  # the table of what refuse_unknown lets pass
    reload_signal = drain_signal = None
    stop_seconds = 5  # for it to end by itself

    def version(self):
        raise NotImplementedError

    def write(self, config, host, port):
        """Writes the configuration into the working directory."""
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def check(self):
        """The command that says whether the files are right, before a server in use is given them."""
        raise NotImplementedError

    def main(self):
        # What a target file claims on top, as in "command: [./haproxy_lb.py, --claim, aws-alb]".
        if sys.argv[1:2] == ["--claim"]:
            self.features = self.features + sys.argv[2:]
        request = json.loads(sys.stdin.read(4 << 20))
        try:
            answer = self.answer(request)
        except Unsupported as e:
            answer = {"status": "unsupported", "message": str(e)}
        except Exception as e:  # whatever it is, the other side is told
            answer = {"status": "error", "message": f"{self.name}: {type(e).__name__}: {e}"}
        json.dump(answer, sys.stdout)

    def answer(self, request):
        verb = request.get("verb")
        if verb == "describe":
            return {"name": self.name, "version": self.version(), "role": self.role, "features": self.features}
        if verb not in ("start", "reload", "drain", "stop", "logs"):
            raise Unsupported(f"{self.name} as a {self.role} has no verb {verb!r}")
        os.chdir(request["dir"])
        if verb in ("start", "reload"):
            config = request["config"]
            for feature in config.get("require") or []:
                if feature not in self.features:
                    raise Unsupported(f"{self.name} as a {self.role} does not have {feature!r}")
            refuse_unknown(config, {"require": ANY, **self.settings})
            return {"status": "ok", **(getattr(self, verb)(config) or {})}
        return {"status": "ok", **(getattr(self, verb)() or {})}

    def start(self, config):
        host, _, port = config["listen"].rpartition(":")
        for attempt in range(3):  # a free port is free only until somebody takes it
            chosen = int(port) or free_port(host)
            self.write(config, host, chosen)
            try:
                pid = self.launch(chosen, self.command())
                break
            except Failed:
                if int(port) or attempt == 2:
                    raise
        self.save({"host": host, "port": chosen, "pid": pid, "sessions": [pid], "drain": self.drain_seconds(config)})
        return {"listen": f"{host}:{chosen}", "pid": pid}

    def launch(self, port, command):
        """Starts the command and returns when it listens; it is not left running when it does not."""
        with open("log", "ab") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            wait(lambda: child.poll() is not None or listeners(port, members({child.pid})), START_SECONDS, f"{command[0]} to listen")
            if child.poll() is not None:
                raise Failed(f"{command[0]} ended with status {child.returncode}; the log ends: {tail(2000)}")
        except Failed:
            self.end({child.pid})
            raise
        return child.pid

    def reload(self, config):
        state = self.state()
        host, _, port = config["listen"].rpartition(":")
        chosen = int(port) or state["port"]
        before = members(set(state["sessions"])) - {state["pid"]}
        self.write(config, host, chosen)
        done = subprocess.run(self.check(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=START_SECONDS)
        if done.returncode:
            raise Failed(f"the configuration is refused: {done.stdout.decode(errors='replace')[-2000:]}")
        self.take(state, chosen, before)
        self.save({**state, "host": host, "port": chosen, "drain": self.drain_seconds(config)})

    def take(self, state, port, before):
        """Has the running server take the new files: returns when only new processes listen."""
        os.kill(state["pid"], self.reload_signal)

        def handed_over():
            now = listeners(port, members(set(state["sessions"])) - {state["pid"]})
            return now and not now & before

        wait(handed_over, START_SECONDS, "the new configuration to be in force")

    def drain(self):
        """Nothing new is taken; what is open may live on for drain.timeout, and is then cut by a process that does only that."""
        state = self.state()
        os.kill(state["pid"], self.drain_signal)
        wait(lambda: not listeners(state["port"], members(set(state["sessions"]))), START_SECONDS, "the port to be closed")
        cut = " ".join(str(-p) for p in state["sessions"])
        timer = subprocess.Popen(["sh", "-c", f"sleep {state['drain']}; kill -KILL {cut}"], start_new_session=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.save({**state, "sessions": state["sessions"] + [timer.pid]})

    def stop(self):
        if os.path.exists("state.json"):  # else it never started, or was stopped before
            self.end(set(self.state()["sessions"]))
            os.remove("state.json")

    def end(self, sessions):
        for sig, limit in ((signal.SIGTERM, self.stop_seconds), (signal.SIGKILL, START_SECONDS)):
            for pid in members(sessions):
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
            try:
                return wait(lambda: not members(sessions), limit, "the processes to end")
            except Failed:
                if sig == signal.SIGKILL:
                    raise

    def logs(self):
        return {"text": tail()}

    def drain_seconds(self, config):
        return seconds((config.get("drain") or {}).get("timeout"), 30)

    def state(self):
        try:
            with open("state.json") as f:
                return json.load(f)
        except FileNotFoundError:
            raise Failed("it does not run: start comes first") from None

    def save(self, state):
        with open("state.json.new", "w") as f:
            json.dump(state, f)
        os.rename("state.json.new", "state.json")


def program_version(command, pattern):
    try:
        out = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=START_SECONDS).stdout
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not installed: install its Debian package") from None
    found = re.search(pattern, out.decode(errors="replace"))
    if not found:
        raise Failed(f"{' '.join(command)} does not tell a version")
    return found[1]


def certificate_names(pem):
    """The DNS names on a certificate: by openssl, since Python's library does not read certificates."""
    done = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", pem], capture_output=True, timeout=START_SECONDS)
    if done.returncode:
        raise Failed(f"openssl does not read {pem}: {done.stderr.decode(errors='replace')[:200]}")
    return [n.lower() for n in re.findall(r"DNS:([^,\s]+)", done.stdout.decode())]
