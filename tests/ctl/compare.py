#!/usr/bin/env python3
"""keelsonctl against etcdctl: the same commands, byte for byte.

Each side has a server of its own, of the same kind and begun in the same way, so that ids and revisions agree. A
step is run on both; exit code, stdout and stderr must be equal, but for what the list MAY_DIFFER takes away.

    compare.py --keelsonctl PATH --etcdctl PATH --server PATH [--only WORD] [--verbose]

Exit 0: equal; 1: differences, printed; 77: something that is needed is not there.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import patience  # noqa: E402
from ports import free_port  # noqa: E402
from steps import all_steps  # noqa: E402

# What may differ, and why: name, pattern, what stands in its place.
MAY_DIFFER = [
    ("where each side's server listens", r"127\.0\.0\.1:(?P<port>PORT)", "SERVER"),
    ("time in log lines", r'"ts":"[^"]*"', '"ts":"TIME"'),
    ("place in the source in log lines", r'"caller":"[^"]*"', '"caller":"PLACE"'),
    ("stack traces in log lines", r',"stacktrace":"[^"]*"', ""),
    ("the address of etcd's client object", r"etcd-endpoints://[^/]*/", "etcd-endpoints://CLIENT/"),
    ("the local port in log lines", r"LocalAddr: [^,]*,", "LocalAddr: LOCAL,"),
    ("how a broken connection is worded in log lines", r'"error":"rpc error: code = (\w+) desc = latest balancer error[^}]*',
     r'"error":"rpc error: code = \1 desc = NO CONNECTION"'),
    ("lease ids the server made, in hexadecimal", r"\b[0-9a-f]{16}(?= (granted|revoked|keepalived|already|expired))", "LEASE"),
    ("... in fields", r'("ID" : |Lease" : )([1-9]\d{12,}|[0-9a-f]{16})\b', r"\1LEASE"),
    ("... in JSON", r'("ID":|"id":|"lease":)[1-9]\d{12,}(?=[,}])', r"\1LEASE"),
    ("... in lists", r"(?m)^[0-9a-f]{16}$", "LEASE"),
    ("gRPC's own log, behind the values of --debug", r"(?s)\n\d{4}/\d\d/\d\d \d\d:\d\d:\d\d .*", "\n"),
    ("what is left of a lease, in seconds", r'(remaining\()\d+(?=s\))|("ttl":)\d+|("TTL" : )\d+(?=\n"GrantedTTL")', r"\1\2\3LEFT"),
    ("how long something took", r"\b\d+(\.\d+)?(ns|µs|ms|s)\b(?=$|[.\n\",│ ])", "TOOK"),
    ("sizes of files", r"\b\d+(\.\d)? (B|kB|MB)(?=[, │])", "SIZE"),
    ("... in fields and JSON", r'("DBSize(InUse)?" : |"dbSize(InUse)?":)\d+', r"\1SIZE"),
    ("... as a share", r"\b\d+%", "SHARE"),
]

# Tables: what was replaced has another width, so borders and padding are not looked at where one was.
def flatten_table(text):
    if "┌" not in text:
        return text
    return re.sub(r" +", " ", re.sub(r"─+", "─", text))


# Help is laid out as etcdctl's, in words of our own: names of commands, flags and types stay, with their defaults.
# The order of what is wrong with a command line, and all that is no help, is compared as it stands.
def strip_help(text):
    if "\nFlags:\n" not in text and "\nUsage:\n" not in text and not text.startswith(("Usage:", "The following")):
        return text
    lines, kept, in_examples = text.split("\n"), [], False
    start = next((i for i, line in enumerate(lines) if line in ("Usage:", "The following options can be passed to any command:")), 0)
    for line in lines[start:] if not text.startswith("Error:") else lines:
        flag = re.match(r"( +(-\w, )?--[\w-]+(?: (?:string|int|duration|strings))?)  +.*?(\(default [^()]*\))?$", line)
        command = re.match(r"  ([a-z-]+) +\S.*$", line)
        if flag:
            kept.append(flag.group(1).rstrip() + " " + (flag.group(3) or ""))
        elif command and not line.startswith("  etcdctl"):
            kept.append("  " + command.group(1))
        else:
            kept.append(line)
    return "\n".join(kept)


# The id of a member that is added hangs on the time; what each side's server chose is replaced, in either notation.
def name_members(text, members):
    for i, member in enumerate(members):
        text = re.sub(f" *\\b({member}|{int(member, 16)})\\b", f" MEMBER{i}", text)
    return text


def normalise(data, side, step):
    text = name_members(data.decode("utf-8", "backslashreplace"), side.members)
    port = side.port
    for _, pattern, instead in MAY_DIFFER:
        text = re.sub(pattern.replace("PORT", str(port)), instead, text)
    text = flatten_table(text)
    return strip_help(text) if step.is_help else text


class Side:
    """One tool and its server."""

    def __init__(self, name, tool, server, directory):
        self.name, self.directory = name, pathlib.Path(directory) / name
        self.directory.mkdir()
        self.tool = self.directory / "etcdctl"  # by this name keelsonctl calls itself so
        self.tool.symlink_to(tool)
        self.leases, self.members = [], []
        self.start_server(server)

    def start_server(self, server):
        for _ in range(5):
            self.port, peer = free_port(), free_port()
            self.log = open(self.directory / "server.log", "wb")
            # What is advertised makes the ids, so it is the same on both sides; nobody goes there. This peer port makes
            # an id that begins with 00, so that a member added later stands behind it in every list.
            self.server = subprocess.Popen(
                [server, "--name", "m0", "--data-dir", str(self.directory / "data"),
                 "--listen-client-urls", f"http://127.0.0.1:{self.port}",
                 "--advertise-client-urls", "http://127.0.0.1:12379",
                 "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                 "--initial-advertise-peer-urls", "http://127.0.0.1:10271",
                 "--initial-cluster", "m0=http://127.0.0.1:10271"],
                stdout=self.log, stderr=self.log, cwd=self.directory)
            if self.wait_ready():
                self.run(["put", "ready", "yes"])
                return
            self.stop()
        raise RuntimeError(f"{server} does not start; see {self.directory}/server.log")

    def wait_ready(self):
        def look():
            # A read: a put that succeeds after its patience would count twice.
            return self.server.poll() is not None or self.run(["get", "ready", "--command-timeout=1s"])[0] == 0
        patience.until(look, "somebody answers", every=0.1)
        return self.server.poll() is None

    def stop(self):
        if self.server.poll() is None:
            self.server.send_signal(signal.SIGKILL)
        self.server.wait()
        self.log.close()

    def environment(self, extra):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        return kept | extra

    def command(self, arguments, endpoint=True):
        words = [str(self.tool)]
        if endpoint:
            words.append(f"--endpoints=127.0.0.1:{self.port}")
        for a in arguments:
            a = a.replace("{port}", str(self.port)).replace("{dir}", str(self.directory))
            words.append(self.substitute(a))
        return words

    def run(self, arguments, stdin=b"", environment=None, endpoint=True):
        environment = {k: v.replace("{port}", str(self.port)) for k, v in (environment or {}).items()}
        done = patience.run(self.command(arguments, endpoint), stdin, env=self.environment(environment),
                            cwd=self.directory)
        granted = re.match(rb"lease ([0-9a-f]{16}) granted", done.stdout)
        if granted:
            self.leases.append(granted.group(1).decode())
        added = re.match(rb"Member +([0-9a-f]+) added", done.stdout) or re.match(rb'.*"member":\{"ID":"?(\w+)', done.stdout)
        if added:
            text = added.group(1).decode()
            self.members.append(f"{int(text):x}" if done.stdout.startswith(b'{"header":{"cluster_id":1') else text)
        return done.returncode, done.stdout, done.stderr

    def run_step(self, step):
        if not step.meanwhile:
            return self.run(step.arguments, step.stdin, step.environment, step.endpoint)
        return self.run_long(step)

    def substitute(self, text):
        """{lease0}: the first lease this side's server granted, {lease-1} the last, 0 if there is none; {member0} likewise."""
        def chosen(match):
            ids, i = self.leases if match.group(1) == "lease" else self.members, int(match.group(2))
            return ids[i] if -len(ids) <= i < len(ids) else "0"
        return re.sub(r"\{(lease|member)(-?\d+)\}", chosen, text)

    def run_long(self, step):
        """A command that stays: its output is read while others run, until there is enough of it."""
        process = subprocess.Popen(self.command(step.arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.environment(step.environment or {}),
                                   cwd=self.directory)
        out, err, grown = bytearray(), bytearray(), threading.Condition()

        def pump(stream, into):
            while chunk := os.read(stream.fileno(), 65536):
                with grown:
                    into.extend(chunk)
                    grown.notify()

        threads = [threading.Thread(target=pump, args=(process.stdout, out), daemon=True),
                   threading.Thread(target=pump, args=(process.stderr, err), daemon=True)]
        for t in threads:
            t.start()
        for action in step.meanwhile:
            if isinstance(action, bytes):
                process.stdin.write(action)
                process.stdin.flush()
            elif isinstance(action, (int, float)):
                time.sleep(action)
            elif isinstance(action, re.Pattern):
                bound = patience.Bound()
                with grown:
                    while not action.search(bytes(out) + bytes(err)):
                        grown.wait(patience.STEP)
                        if bound.is_over():
                            process.kill()
                            return -99, bytes(out), bytes(err) + b"\n(waited in vain for " + action.pattern + b")"
            elif action == "EOF":
                process.stdin.close()
            elif action == "END":
                patience.ended(process)
            else:
                self.run(action)
        code = process.poll()
        if code is None:
            process.terminate()
            process.wait()
            code = "stays"
        for t in threads:
            t.join()
        return code, bytes(out), bytes(err)


def show(data):
    return data.decode("utf-8", "backslashreplace").rstrip("\n").replace("\n", "\n      ")


def compare(step, sides, verbose):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        theirs, ours = pool.map(lambda side: side.run_step(step), sides)
    wrong = []
    if theirs[0] != ours[0]:
        wrong.append(f"exit code {theirs[0]}, ours {ours[0]}")
    for which, name in ((1, "stdout"), (2, "stderr")):
        a, b = (normalise(r[which], side, step) for r, side in zip((theirs, ours), sides))
        if a != b:
            wrong.append(f"{name}:\n  etcdctl\n      {show(theirs[which])}\n  keelsonctl\n      {show(ours[which])}")
    if verbose or wrong:
        print(("DIFFERENT " if wrong else "equal ") + repr(step.arguments) +
              (f" stdin={step.stdin!r}" if step.stdin else "") + (f" env={step.environment}" if step.environment else ""))
        for text in wrong:
            print("  " + text)
    return not wrong


def main():
    parser = argparse.ArgumentParser()
    for name in ("keelsonctl", "etcdctl", "server"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--slow", type=float, default=0, help="name steps that take longer, in seconds")
    options = parser.parse_args()
    for path in (options.keelsonctl, options.etcdctl, options.server):
        if not os.access(path, os.X_OK):
            print(f"skipped: {path} is not there (tests/peers/build makes etcd and etcdctl)")
            return 77
    directory = tempfile.mkdtemp(prefix="keelsonctl-")
    sides, differences, count = [], 0, 0
    try:
        sides.append(Side("theirs", os.path.abspath(options.etcdctl), os.path.abspath(options.server), directory))
        sides.append(Side("ours", os.path.abspath(options.keelsonctl), os.path.abspath(options.server), directory))
        for step in all_steps():
            if options.only and options.only not in step.arguments:
                continue
            count += 1
            begun = time.monotonic()
            differences += not compare(step, sides, options.verbose)
            if options.slow and time.monotonic() - begun > options.slow:
                print(f"{time.monotonic() - begun:.1f} s {step.arguments}")
    finally:
        for side in sides:
            side.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{count} steps, {differences} different")
    return 1 if differences or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
