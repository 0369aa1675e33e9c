#!/usr/bin/env python3
"""--force-new-cluster from what is left of a cluster of three, and the cluster that grows from it again.

    force_new.py --server keelson --peers DIR       DIR has etcd and etcdctl

The same steps with etcd and with this server; whoever joins is of the other kind. This server is killed at any moment of
such a start, too. Exit 77: skipped, a program is not there.
"""
import random
import sys
import time

sys.dont_write_bytecode = True
from nodes import Ctl, Node, arguments, run_cases, until  # noqa: E402
from patience import ended  # noqa: E402

PUTS = 30
KILLS = 15


def members(ctl, node):
    return [(one["ID"], one["peerURLs"]) for one in ctl(node, "member", "list")["members"]]


def run(server, other, peers, directory, kills):
    ctl = Ctl(peers / "etcdctl")
    nodes = [Node(f"m{i}", server, directory) for i in range(3)]
    joining = Node("m3", other, directory)
    left = nodes[2]
    try:
        for node in nodes:
            node.start(nodes)
        until("all serve", lambda: all(ctl(node, "get", "x") for node in nodes), nodes)
        for i in range(PUTS):
            ctl(nodes[i % 3], "put", f"k{i}", "v")
        before = members(ctl, left)
        own = [one for one in before if one[1] == [left.peer_url]]
        ctl(nodes[0], "put", "last", "1")  # may not be known to be committed
        until("it has all", lambda: ctl.revision(left) == PUTS + 2, nodes)
        for node in nodes:
            node.stop()
        for _ in range(kills):
            left.start(nodes, "--force-new-cluster")
            time.sleep(random.random() * 0.2)  # any moment
            left.stop()
        left.start(nodes, "--force-new-cluster")
        until("it is alone", lambda: ctl(left, "get", "x") and members(ctl, left) == own, [left])
        if "forcing restart member" not in left.log():
            raise AssertionError(f"it does not say so\n{left.log()}")
        found = ctl.revision(left)
        if found not in (PUTS + 1, PUTS + 2):
            raise AssertionError(f"revision {found}: writes are missing")
        ctl(left, "put", "after", "1")
        left.stop()
        left.start(nodes)
        until("it starts without the flag", lambda: ctl(left, "get", "after")["count"] == 1, [left])
        if members(ctl, left) != own:
            raise AssertionError(f"others are back: {members(ctl, left)}")
        ctl(left, "member", "add", "m3", f"--peer-urls={joining.peer_url}")
        joining.start([left, joining], "--initial-cluster-state=existing")
        until("another one joins", lambda: ctl(joining, "get", "after")["count"] == 1, [left, joining])
        ctl(joining, "put", "from-both", "1")
        until("both have it", lambda: ctl.revision(left) == ctl.revision(joining) == found + 2, [left, joining])
        if ctl.hash(left, found + 2) != ctl.hash(joining, found + 2):
            raise AssertionError("hashes differ")
        if not kills:
            return
        # One that was left behind is told so.
        nodes[0].start(nodes)
        ended(nodes[0].process)
    finally:
        for node in [*nodes, joining]:
            node.stop()


def main():
    options = arguments(__doc__, ("etcd", "etcdctl"))
    us, etcd = options.server, str(options.peers / "etcd")
    run_cases("force_new", [("etcd", lambda at: run(etcd, us, options.peers, at, 0)),
                            ("this server", lambda at: run(us, etcd, options.peers, at, KILLS))])


if __name__ == "__main__":
    main()
