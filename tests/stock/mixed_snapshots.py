#!/usr/bin/env python3
"""Members too far behind get a snapshot from a leader of the other kind: etcd from this server, this server from etcd.

    mixed_snapshots.py --server keelson --peers DIR       DIR has etcd, etcdctl and load

Each time two members of one kind and one of the other; the one is killed, the log goes on without it further than it
is kept, and it comes back. Exit 77: skipped, a program is not there.
"""
import sys

sys.dont_write_bytecode = True
from nodes import Ctl, Node, arguments, run_cases, until  # noqa: E402
import patience  # noqa: E402

WRITES = 400
OFTEN = ("--snapshot-count=100", "--snapshot-catchup-entries=20")


def run(majority, single, peers, directory):
    """Two of `majority` and one of `single`, which is the one that is away."""
    ctl = Ctl(peers / "etcdctl")
    nodes = [Node(f"m{i}", majority if i < 2 else single, directory) for i in range(3)]
    away = nodes[2]

    def write(seed):
        done = patience.run([peers / "load", "-case", "fill", "-endpoint", nodes[0].endpoint, "-keys", str(WRITES),
                             "-per-txn", "1", "-value-bytes", "300", "-seed", str(seed), "-seconds", "60"],
                            within=2 * patience.PATIENCE)
        if done.returncode:
            raise AssertionError(done.stderr.decode())

    try:
        for node in nodes:
            node.start(nodes, *OFTEN)
        until("all serve", lambda: all(ctl(node, "get", "x") for node in nodes), nodes)
        ctl(nodes[0], "put", "before", "1")
        ctl(nodes[0], "lease", "grant", "1000")
        until("all have it", lambda: all(ctl.revision(node) == 2 for node in nodes), nodes)
        away.stop()
        until("somebody leads", lambda: ctl(nodes[0], "get", "x"), nodes[:2])
        write(1)
        ctl(nodes[0], "compaction", "300")
        away.start(nodes, *OFTEN)
        last = 2 + WRITES
        until("caught up", lambda: ctl.revision(away) == last, nodes)
        if "applied snapshot" not in away.log():
            raise AssertionError(f"it had no need of a snapshot\n{away.log()[-3000:]}")
        hashes = {ctl.hash(node, last) for node in nodes}
        if len(hashes) != 1:
            raise AssertionError(f"hashes differ: {hashes}")
        leases = [ctl(node, "lease", "list") for node in nodes]
        if len({str([one["id"] for one in each["leases"]]) for each in leases}) != 1:
            raise AssertionError(f"leases differ: {leases}")
        # It is as good a member as any.
        write(2)
        ctl(away, "put", "after", "1")
        last += WRITES + 1
        until("all go on", lambda: all(ctl.revision(node) == last for node in nodes), nodes)
        away.stop()
        away.start(nodes, *OFTEN)
        until("it starts again", lambda: ctl.revision(away) == last and ctl(away, "get", "after")["count"] == 1, nodes)
        hashes = {ctl.hash(node, last) for node in nodes}
        if len(hashes) != 1:
            raise AssertionError(f"hashes differ at the end: {hashes}")
    finally:
        for node in nodes:
            node.stop()


def main():
    options = arguments(__doc__, ("etcd", "etcdctl", "load"))
    us, etcd = options.server, str(options.peers / "etcd")
    run_cases("mixed_snapshots", [("etcd takes ours", lambda at: run(us, etcd, options.peers, at)),
                                  ("we take etcd's", lambda at: run(etcd, us, options.peers, at))])


if __name__ == "__main__":
    main()
