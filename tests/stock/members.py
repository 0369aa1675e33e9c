#!/usr/bin/env python3
"""Members come and go by stock etcdctl, under load, in clusters of one kind and of both.

    members.py --server keelson --peers DIR       DIR has etcd and etcdctl

First the steps of an operator, one by one, on three of ours: add a learner, refuse to promote it before it is there,
promote it through a follower, make it leader, remove it, lose the leader, lose a directory. Then the walk: three members
of etcd are replaced one at a time by ours, and back, while a client writes; each write that was acknowledged is there at
the end.
Exit 77: skipped, a program is not there.
"""
import base64
import shutil
import sys
import threading

sys.dont_write_bytecode = True
from nodes import Ctl, Node, arguments, run_cases, until  # noqa: E402
from patience import ended, run  # noqa: E402


class Writer(threading.Thread):
    """Puts keys, one after the other, by any of the endpoints; remembers what was acknowledged."""

    def __init__(self, etcdctl, nodes):
        super().__init__(daemon=True)
        self.etcdctl, self.nodes = str(etcdctl), nodes
        self.acknowledged, self.refused = [], []
        self.over = threading.Event()

    def run(self):
        number = 0
        while not self.over.is_set():
            number += 1
            nodes = list(self.nodes)
            done = run(
                [self.etcdctl, "--endpoints", nodes[number % len(nodes)].endpoint, "put", f"w{number}", str(number)])
            if done.returncode:
                self.refused.append(done.stderr.decode()[-200:])
            else:
                self.acknowledged.append(number)

    def stop(self):
        self.over.set()
        self.join()


class Cluster:
    def __init__(self, peers, directory):
        self.ctl, self.directory = Ctl(peers / "etcdctl"), directory
        self.nodes, self.all, self.made = [], [], 0

    def node(self, binary):
        self.made += 1
        self.all.append(Node(f"m{self.made}", binary, self.directory))
        return self.all[-1]

    def found(self, binary, count):
        self.nodes.extend(self.node(binary) for _ in range(count))
        for node in self.nodes:
            node.start(self.nodes)
        self.until("all serve", lambda: all(self.ctl(node, "get", "x") for node in self.nodes))
        # etcd lets no member in before its connections have been good for five seconds.
        self.until("a member may be added", lambda: self.may_add())

    def may_add(self):
        member = self.ctl(self.nodes[0], "member", "add", "probe", "--learner", "--peer-urls=http://127.0.0.1:1")
        self.ctl(self.nodes[0], "member", "remove", f"{member['member']['ID']:x}")
        return True

    def until(self, what, check):
        until(what, check, self.all)

    def refused(self, node, *arguments):
        try:
            answer = self.ctl(node, *arguments)
        except RuntimeError as refusal:
            return str(refusal).strip().splitlines()[-1]
        raise AssertionError(f"{arguments} was not refused: {answer}")

    def leader(self):
        status = self.ctl(self.nodes[0], "endpoint", "status")[0]["Status"]
        return next(node for node in self.nodes if self.id(node) == status["leader"])

    def id(self, node):
        return self.ctl(node, "endpoint", "status")[0]["Status"]["header"]["member_id"]

    def join(self, binary):
        """A learner that is started and up to date."""
        new = self.node(binary)
        at = self.nodes[0]
        added = self.ctl(at, "member", "add", new.name, "--learner", f"--peer-urls={new.peer_url}")
        new.start([*self.nodes, new], "--initial-cluster-state=existing")
        until(f"{new.name} has what was written", lambda: self.ctl.revision(new) > 1, self.all)
        return new, f"{added['member']['ID']:x}"

    def promote(self, new, id):
        by = self.nodes[-1]
        # The one answer that says "later"; any other ends the test.
        def promoted():
            try:
                self.ctl(by, "member", "promote", id)
                return True
            except RuntimeError as refusal:
                if "in sync with leader" not in str(refusal):
                    raise AssertionError(str(refusal)) from None
                return False
        self.until(f"{new.name} is promoted", promoted)
        self.nodes.append(new)

    def remove(self, old):
        id = f"{self.id(old):x}"
        self.nodes.remove(old)
        # Right after another change etcd may see a connection that is not five seconds old.
        self.until(f"{old.name} may go", lambda: self.ctl(self.nodes[-1], "member", "remove", id) is not None)
        if ended(old.process) != 0:
            raise AssertionError(f"{old.name} was removed and ended with {old.process.returncode}\n{old.log()[-2000:]}")
        # It may have led. A change that its successor has not heard of waits as long as its caller does.
        self.until("the rest goes on", lambda: all(self.ctl(node, "get", "x") for node in self.nodes))

    def stop(self):
        for node in self.all:
            node.stop()


def operator(server, peers, directory):
    cluster = Cluster(peers, directory)
    try:
        cluster.found(server, 3)
        cluster.ctl(cluster.nodes[1], "put", "a", "1")
        refusal = cluster.refused(cluster.nodes[0], "member", "remove", "1234")
        if "member not found" not in refusal:
            raise AssertionError(refusal)
        absent = cluster.ctl(cluster.nodes[0], "member", "add", "absent", "--learner", "--peer-urls=http://127.0.0.1:3")
        id = f"{absent['member']['ID']:x}"
        for node in cluster.nodes:  # by the leader, and by those who ask it
            refusal = cluster.refused(node, "member", "promote", id)
            if "in sync with leader" not in refusal:
                raise AssertionError(refusal)
        refusal = cluster.refused(cluster.nodes[0], "member", "add", "b", "--learner", "--peer-urls=http://127.0.0.1:2")
        if "too many learner" not in refusal:
            raise AssertionError(refusal)
        cluster.ctl(cluster.nodes[0], "member", "remove", id)

        new, id = cluster.join(server)
        refusal = cluster.refused(new, "get", "a")
        if "rpc not supported for learner" not in refusal:
            raise AssertionError(refusal)
        cluster.promote(new, id)
        cluster.ctl(new, "put", "b", "2")
        leader = cluster.leader()
        cluster.ctl(leader, "move-leader", id)
        if cluster.leader() is not new:
            raise AssertionError("the other does not lead")
        refusal = cluster.refused(leader, "move-leader", id)
        if "not leader" not in refusal and "no leader endpoint" not in refusal:
            raise AssertionError(refusal)
        cluster.remove(new)
        cluster.until("another leads", lambda: cluster.ctl(cluster.nodes[0], "put", "c", "3"))
        for line in ("the member has been permanently removed from the cluster", "data-dir used by this member must be removed"):
            if line not in new.log():
                raise AssertionError(f"{line} is not said\n{new.log()[-2000:]}")

        lost = cluster.leader()
        lost.stop()
        rest = [node for node in cluster.nodes if node is not lost]
        cluster.until("another leads", lambda: cluster.ctl(rest[0], "put", "d", "4"))
        lost.start(cluster.nodes)
        last = cluster.ctl.revision(rest[0])
        cluster.until("it is back", lambda: cluster.ctl.revision(lost) == last)
        for key in "abcd":
            if cluster.ctl(lost, "get", key)["count"] != 1:
                raise AssertionError(f"{key} is lost")
        lose_directory(cluster)
    finally:
        cluster.stop()


def lose_directory(cluster):
    """Who begins anew under its old id is refused; removed and added anew it is let in."""
    lost = cluster.nodes[0]
    id, rest = f"{cluster.id(lost):x}", [node for node in cluster.nodes if node is not lost]
    lost.stop()
    shutil.rmtree(lost.directory / "data")
    lost.start(cluster.nodes, "--initial-cluster-state=existing")
    if ended(lost.process) != 1 or f"member {id} has already been bootstrapped" not in lost.log():
        raise AssertionError(f"it ended with {lost.process.returncode}\n{lost.log()[-2000:]}")
    cluster.until("it may go", lambda: cluster.ctl(rest[0], "member", "remove", id))
    cluster.until("it may come", lambda: cluster.ctl(rest[0], "member", "add", lost.name, f"--peer-urls={lost.peer_url}"))
    lost.start(cluster.nodes, "--initial-cluster-state=existing")
    cluster.until("it is back", lambda: all(cluster.ctl(lost, "get", key)["count"] == 1 for key in "abcd"))
    if f"{cluster.id(lost):x}" == id:
        raise AssertionError("it has its old id")


def walk(kinds, peers, directory):
    cluster = Cluster(peers, directory)
    writer = Writer(peers / "etcdctl", cluster.nodes)
    try:
        cluster.found(kinds[0], 3)
        writer.start()
        for kind in kinds[1:]:
            for _ in range(3):
                old = cluster.nodes[0]
                new, id = cluster.join(kind)
                cluster.promote(new, id)
                cluster.remove(old)
        writer.stop()
        if len(writer.acknowledged) < 20:
            raise AssertionError(f"hardly a write was acknowledged; refusals: {writer.refused[-5:]}")
        for node in cluster.nodes:
            found = {kv["value"] for kv in cluster.ctl(node, "get", "w", "--prefix")["kvs"]}
            lost = [n for n in writer.acknowledged if encoded(n) not in found]
            if lost:
                raise AssertionError(f"{node.name} has lost {lost}")
        last = cluster.ctl.revision(cluster.nodes[0])
        hashes = {cluster.ctl.hash(node, last) for node in cluster.nodes}
        if len({hash for hash, _ in hashes}) != 1:
            raise AssertionError(f"hashes differ: {hashes}")
        print(f"{len(writer.acknowledged)} writes acknowledged, {len(writer.refused)} refused; all there")
    finally:
        writer.over.set()
        cluster.stop()


def encoded(number):
    return base64.b64encode(str(number).encode()).decode()


def main():
    options = arguments(__doc__, ("etcd", "etcdctl"))
    us, etcd = options.server, str(options.peers / "etcd")
    run_cases("members", [("operator", lambda at: operator(us, options.peers, at)),
                          ("walk", lambda at: walk([etcd, us, etcd], options.peers, at))])


if __name__ == "__main__":
    main()
