#!/usr/bin/env python3
"""How fast leases end in a cluster with a member of etcd: at most a thousand a second, as etcd's own leader has it.

    revokes.py --server keelson --peers DIR       DIR has etcd and etcdctl

Exit 77: skipped, a program or Debian's python3-grpcio is not there.
"""
import pathlib
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True
from grpc_here import grpc  # noqa: E402
from nodes import Ctl, Node, arguments, until  # noqa: E402
from patience import fetch  # noqa: E402

LEASES = 4000
PER_SECOND = 1000


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def grant(node, ttl):
    with grpc.insecure_channel(node.endpoint) as channel:
        call = channel.unary_unary("/etcdserverpb.Lease/LeaseGrant")
        with ThreadPoolExecutor(50) as pool:
            request = b"\x08" + varint(ttl)
            list(pool.map(lambda number: call(request + b"\x10" + varint(number + 1), timeout=60), range(LEASES)))


def expired(node):
    for line in fetch(f"http://{node.endpoint}/metrics").decode().splitlines():
        if line.startswith("etcd_debugging_server_lease_expired_total "):
            return int(float(line.split()[1]))
    raise RuntimeError("no count of expired leases")


def leases(ctl, node):
    return len(ctl(node, "lease", "list").get("leases", []))


def fastest(samples):
    """Of any second."""
    best = 0
    for begin, (then, before) in enumerate(samples):
        for now, after in samples[begin + 1:]:
            if now - then >= 1:
                best = max(best, (after - before) / (now - then))
                break
    return best


def main():
    options = arguments(__doc__, ("etcd", "etcdctl"))
    etcd, etcdctl = options.peers / "etcd", options.peers / "etcdctl"
    ctl = Ctl(etcdctl)
    with tempfile.TemporaryDirectory(prefix="keelson-stock-") as directory:
        nodes = [Node(f"m{number}", binary, pathlib.Path(directory))
                 for number, binary in ((1, options.server), (2, options.server), (3, etcd))]
        try:
            for node in nodes:
                node.start(nodes)
            until("all serve", lambda: all(ctl(node, "get", "x") for node in nodes), nodes)
            ids = {one["name"]: one["ID"] for one in ctl(nodes[0], "member", "list")["members"]}
            # One of ours is to lead.
            status = ctl(nodes[2], "endpoint", "status")[0]["Status"]
            if status["leader"] == ids["m3"]:
                ctl(nodes[2], "move-leader", f"{ids['m1']:x}")
            led = ctl(nodes[0], "endpoint", "status")[0]["Status"]["leader"]
            leader = next(node for node in nodes if ids[node.name] == led)
            assert leader is not nodes[2], "a member of etcd leads"
            grant(leader, 30)
            until("the first ends", lambda: expired(leader) > 0, nodes)
            samples = []

            def sample():
                samples.append((time.monotonic(), expired(leader)))
                return samples[-1][1] >= LEASES

            until("all end", sample, nodes)
            until("none is left anywhere", lambda: all(leases(ctl, node) == 0 for node in nodes), nodes)
        finally:
            for node in nodes:
                node.stop()
    rate = fastest(samples)
    print(f"{LEASES} leases ended, {rate:.0f} in the fastest second")
    if rate > 1.15 * PER_SECOND:
        sys.exit("too fast for a member of etcd")


if __name__ == "__main__":
    main()
