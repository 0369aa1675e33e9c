"""Cases of bench/run about answers of any size: a snapshot, and ten unary Ranges at once over all keys, of 1 KB each. What counts
is how far the server's anonymous memory grows meanwhile, and CPU for each key sent. The clients are h2load's, with
windows that never close, so the server goes as fast as it can; what comes is thrown away.
"""

import re
import subprocess
import threading

from state import settled_bytes

CLIENTS = 10
VALUE_BYTES = 1024
EVERYTHING = b"\0\0\0\0\6" + b"\x0a\1\0" + b"\x12\1\0"  # key "\0", range_end "\0", behind gRPC's prefix


def ranges(server, load, options, *more):
    keys = options.keys * 3 // 10
    load(server, "fill", 60, "-keys", keys, "-value-bytes", VALUE_BYTES, *more)
    body = server.directory / "everything"
    body.write_bytes(EVERYTHING)
    turns = [one_turn(server, body, keys) for _ in range(options.rounds)]
    return {"MB grown": max(grown for grown, _ in turns), "CPU us/key": sorted(cpu for _, cpu in turns)[len(turns) // 2]}


def one_turn(server, body, keys):
    with Watched(server) as watched:
        before = server.cpu_seconds()
        result = subprocess.run(["h2load", f"-n{CLIENTS}", f"-c{CLIENTS}", "-m1", "-t1", "-w30", "-W30", "-d", body,
                                 "-Hcontent-type: application/grpc", "-Hte: trailers",
                                 f"http://127.0.0.1:{server.port}/etcdserverpb.KV/Range"],
                                capture_output=True, text=True, timeout=300, check=True)
        used = server.cpu_seconds() - before
    succeeded = int(re.search(r"(\d+) succeeded", result.stdout).group(1))
    received = int(re.search(r"\((\d+)\) data", result.stdout).group(1))
    if succeeded != CLIENTS or received < CLIENTS * keys * VALUE_BYTES:
        raise SystemExit(f"{server.name}: {succeeded} of {CLIENTS} answers, {received} bytes\n{result.stdout}")
    return watched.grown_mb, used / CLIENTS / keys * 1e6


class Watched:
    """How far a server's anonymous memory grows, looked at a hundred times a second."""

    def __init__(self, server):
        self.server = server
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.over.wait(0.01):
            self.highest = max(self.highest, self.server.anonymous_mb())

    def __enter__(self):
        self.before = self.highest = self.server.anonymous_mb()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    @property
    def grown_mb(self):
        return self.highest - self.before


def snapshot(server, load, options):
    """A snapshot of `keys` KB in keys of 64 B, taken by one client beside the puts of another."""
    keys = ["-keys", options.keys, "-value-bytes", VALUE_BYTES]
    load(server, "fill", 60, *keys)
    settled_bytes(server)
    with Watched(server) as watched:
        figures = load(server, "latency beside snapshot", options.seconds * 3, *keys)
    figures["MB grown"] = watched.grown_mb
    figures["streaming p99 / idle"] = figures["streaming p99 ms"] / figures["idle p99 ms"]
    return figures


CASES = {"snapshot beside puts": snapshot, "ten ranges, random order": ranges,
         "ten ranges, write order": lambda *words: ranges(*words, "-in-order")}
