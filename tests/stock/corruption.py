#!/usr/bin/env python3
"""A member with another past is found by a leader of the other kind, and by itself at its start, as etcd's finds it.

    corruption.py --server keelson --peers DIR       DIR has etcd, etcdctl and anotherpast

Two members of one kind and one of the other. Exit 77: skipped, a program is not there.
"""
import sys

sys.dont_write_bytecode = True
from nodes import Ctl, Node, arguments, run_cases, until  # noqa: E402
from patience import ended, run  # noqa: E402

PUTS = 20


class Cluster:
    def __init__(self, kinds, peers, directory):
        self.ctl, self.peers = Ctl(peers / "etcdctl"), peers
        self.nodes = [Node(f"m{i}", kind, directory) for i, kind in enumerate(kinds)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            node.stop()

    def start(self, *flags):
        for node in self.nodes:
            node.start(self.nodes, *flags)
        until("all serve", lambda: all(self.ctl(node, "get", "x") for node in self.nodes), self.nodes)

    def fill(self):
        for i in range(PUTS):
            self.ctl(self.nodes[0], "put", f"k{i}", "v")
        until("all have it", lambda: all(self.ctl.revision(node) == PUTS + 1 for node in self.nodes), self.nodes)

    def id_of(self, node):
        return self.ctl(node, "endpoint", "status")[0]["Status"]["header"]["member_id"]

    def alarms(self):
        return [one["memberID"] for one in self.ctl(self.nodes[0], "alarm", "list").get("alarms", [])
                if one["alarm"] == 2]

    def lead(self, node):
        """Waits until it is so, moving the leadership there."""
        def leads():
            status = self.ctl(self.nodes[0], "endpoint", "status")[0]["Status"]
            if status["leader"] == self.id_of(node):
                return True
            holder = next(one for one in self.nodes if self.id_of(one) == status["leader"])
            self.ctl(holder, "move-leader", f"{self.id_of(node):x}")
            return False
        until(f"{node.name} leads", leads, self.nodes)

    def give_another_past(self, node):
        node.stop()
        done = run([self.peers / "anotherpast", node.directory / "data", "k1"])
        if done.returncode:
            raise AssertionError(done.stderr.decode())


def found_by_the_leader(kinds, peers, directory, flags, compact):
    """The last member differs, the first leads: it calls the last one corrupt."""
    with Cluster(kinds, peers, directory) as cluster:
        cluster.start(*flags)
        cluster.fill()
        last = cluster.nodes[-1]
        name = cluster.id_of(last)
        cluster.give_another_past(last)
        last.start(cluster.nodes, *flags)
        until("it is back", lambda: cluster.ctl(last, "get", "x"), cluster.nodes)
        cluster.lead(cluster.nodes[0])
        if compact:
            cluster.ctl(cluster.nodes[0], "compaction", str(PUTS))
        until("an alarm", lambda: cluster.alarms() == [name], cluster.nodes)
        for node in cluster.nodes:
            try:
                cluster.ctl(node, "put", "after", "1")
            except RuntimeError as error:
                if "corrupt cluster" in str(error):
                    continue
                raise
            raise AssertionError(f"{node.name} takes writes")


def found_at_its_start(kinds, peers, directory):
    with Cluster(kinds, peers, directory) as cluster:
        cluster.start()
        cluster.fill()
        last = cluster.nodes[-1]
        check = "--feature-gates=InitialCorruptCheck=true"
        last.stop()
        last.start(cluster.nodes, check)
        until("it starts where all are alike", lambda: cluster.ctl(last, "get", "x"), cluster.nodes)
        if "initial corruption checking passed; no corruption" not in last.log():
            raise AssertionError(f"not checked\n{last.log()}")
        name = cluster.id_of(last)
        cluster.give_another_past(last)
        last.start(cluster.nodes)
        until("it is back", lambda: cluster.ctl.revision(last) == PUTS + 1, cluster.nodes)
        last.process.terminate()  # all it has applied is in its store
        ended(last.process)
        last.start(cluster.nodes, check)
        code = ended(last.process)
        for line in ("checkInitialHashKV failed", f"{name:x} found data inconsistency with peers",
                     "found different hash values from remote peer", "discovery failed"):
            if line not in last.log():
                raise AssertionError(f"it does not say {line!r}\n{last.log()}")
        if code != 1:
            raise AssertionError(f"exit code {code}")


def main():
    options = arguments(__doc__, ("etcd", "etcdctl", "anotherpast"))
    us, etcd = options.server, str(options.peers / "etcd")
    periodic = (("--corrupt-check-time=2s",), False)
    compactions = (("--feature-gates=CompactHashCheck=true", "--compact-hash-check-time=2s"), True)
    cases = []
    for what, kinds in (("etcd leads", (etcd, etcd, us)), ("we lead", (us, us, etcd))):
        for name, (flags, compact) in (("periodic", periodic), ("compactions", compactions)):
            cases.append((f"{name}, {what}",
                          lambda d, k=kinds, f=flags, c=compact: found_by_the_leader(k, options.peers, d, f, c)))
    for what, kinds in (("ours among etcd's", (etcd, etcd, us)), ("etcd's among ours", (us, us, etcd))):
        cases.append((f"at its start, {what}", lambda d, k=kinds: found_at_its_start(k, options.peers, d)))
    run_cases("corruption", cases)


if __name__ == "__main__":
    main()
