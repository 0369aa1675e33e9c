"""Cases of bench/run about what a server holds: memory for each key and revision, the time until it answers again
after kill -9, the latency of puts while it compacts and defragments. Each starts servers of its own, one at a time,
and fills them by tests/peers/bin/load.
"""

import time
import urllib.error
import urllib.request

SETTLE_SECONDS = 10  # what is done in the background, allocators included


def memory(server, load, options):
    """A server with `keys` keys of 64 B and values of 64 B; then five times as many updates of random ones."""
    keys = ["-keys", options.keys, "-value-bytes", 64]
    updates = 5 * options.keys
    empty = settled_bytes(server)
    load(server, "fill", 60, *keys)
    filled = settled_bytes(server)
    load(server, "update", 120, *keys, "-updates", updates)
    updated = settled_bytes(server)
    load(server, "compact", 60)
    compacted = settled_bytes(server)
    return {"B/key, one version": (filled - empty) / options.keys,
            "B/further revision": (updated - filled) / updates,
            "B/key, updated and compacted": (compacted - empty) / options.keys}


def restart(server, load, options):
    """The same with values of 256 B, killed and started again."""
    load(server, "fill", 60, "-keys", options.keys, "-value-bytes", 256, "-per-txn", options.per_txn)
    server.kill()
    started = time.monotonic()
    server.start()
    while not healthy(server):
        if time.monotonic() - started > 120:
            raise SystemExit(f"{server.name} is not healthy after a restart; see\n{server.tail()}")
        time.sleep(0.005)
    took = time.monotonic() - started
    return {"s until healthy": took, "CPU s": server.cpu_seconds()}


def compaction(server, load, options):
    """Puts of one caller beside the compaction of three revisions of each of 300,000 keys, and a Defragment."""
    keys = ["-keys", options.keys * 3 // 10, "-value-bytes", 256]
    load(server, "fill", 60, *keys)
    load(server, "update", 60, *keys, "-updates", options.keys * 6 // 10)
    time.sleep(SETTLE_SECONDS)
    figures = load(server, "latency beside compaction", options.seconds * 3, *keys)
    for phase in ("compacting", "defragmenting"):
        figures[f"{phase} p99.9 / idle"] = figures[f"{phase} p99.9 ms"] / figures["idle p99.9 ms"]
    return figures


CASES = {"memory per key": memory, "restart after kill -9": restart, "puts beside compaction": compaction}


def settled_bytes(server):
    """Anonymous memory once it has stopped to shrink: collection and allocators work in the background."""
    readings = [server.anonymous_mb()]
    while len(readings) < 20 and (len(readings) < 3 or readings[-1] < 0.99 * readings[-3]):
        time.sleep(SETTLE_SECONDS)
        readings.append(server.anonymous_mb())
    return readings[-1] * 1024 * 1024


def healthy(server):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health", timeout=5) as answer:
            return b'"health":"true"' in answer.read()
    except (urllib.error.URLError, OSError):
        return False
