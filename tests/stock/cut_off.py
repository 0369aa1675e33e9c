#!/usr/bin/env python3
"""What members say while they cannot reach each other: the same code and text as etcd's.

    cut_off.py --server keelson --peers DIR       DIR has etcd and etcdctl

Two clusters of three side by side, one of ours and one of etcd's. Members stand still (SIGSTOP) or are killed while
others are asked; each answer is compared with what is expected, and so are the two clusters with each other.
Exit 77: skipped, a program or Debian's python3-grpcio is not there.
"""
import os
import pathlib
import signal
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from grpc_here import grpc  # noqa: E402
from nodes import Ctl, Node, arguments, until  # noqa: E402
from patience import PATIENCE, join  # noqa: E402

KV, LEASE, CLUSTER = "/etcdserverpb.KV/", "/etcdserverpb.Lease/", "/etcdserverpb.Cluster/"
MAINTENANCE, WATCH = "/etcdserverpb.Maintenance/", "/etcdserverpb.Watch/Watch"
KEY = b"\x0a\x01k"
LEADER_NEEDED = (("hasleader", "true"),)

TIMED_OUT = ("UNAVAILABLE", "etcdserver: request timed out")
LEADER_FAILED = ("UNAVAILABLE", "etcdserver: request timed out, possibly due to previous leader failure")
CONNECTION_LOST = ("UNAVAILABLE", "etcdserver: request timed out, possibly due to connection lost")
NO_LEADER = ("UNAVAILABLE", "etcdserver: no leader")
LEADER_CHANGED = ("UNAVAILABLE", "etcdserver: leader changed")
NOT_LEADER = ("FAILED_PRECONDITION", "etcdserver: not leader")
DEADLINE = ("DEADLINE_EXCEEDED", "context deadline exceeded")
OK = ("OK", "")

# Through the log. The lease 7 is granted beforehand.
WRITES = {
    "put": (KV + "Put", KEY + b"\x12\x01v"),
    "delete": (KV + "DeleteRange", KEY),
    "txn": (KV + "Txn", b"\x12\x08\x12\x06" + KEY + b"\x12\x01v"),
    "compact": (KV + "Compact", b"\x08\x01"),
    "grant": (LEASE + "LeaseGrant", b"\x08\x3c"),
    "revoke": (LEASE + "LeaseRevoke", b"\x08\x63"),
    "alarm": (MAINTENANCE + "Alarm", b""),
}
READS = {
    "range": (KV + "Range", KEY),
    "members": (CLUSTER + "MemberList", b"\x08\x01"),
}
LOCAL = {
    "serializable": (KV + "Range", KEY + b"\x38\x01"),
    "status": (MAINTENANCE + "Status", b""),
    "leases": (LEASE + "LeaseLeases", b""),
    "members here": (CLUSTER + "MemberList", b""),
    "hash": (MAINTENANCE + "HashKV", b""),
}
OF_THE_LEADER = {
    "time to live": (LEASE + "LeaseTimeToLive", b"\x08\x07"),
    "promote": (CLUSTER + "MemberPromote", b"\x08\x07"),
}


class Call(threading.Thread):
    """One call, on its way from now on."""

    def __init__(self, node, method, request, metadata=(), patience=30):
        super().__init__(daemon=True)
        self.arguments, self.answer = (node.endpoint, method, request, metadata, patience), None
        self.start()

    def run(self):
        endpoint, method, request, metadata, patience = self.arguments
        with grpc.insecure_channel(endpoint, options=[("grpc.enable_retries", 0)]) as channel:
            try:
                channel.unary_unary(method)(request, timeout=patience, metadata=metadata)
                self.answer = OK
            except grpc.RpcError as error:
                self.answer = (error.code().name, error.details())

    def result(self):
        join(self)
        return self.answer


class Stream(threading.Thread):
    """A stream that is sent one message and then left open."""

    def __init__(self, node, method, request, metadata):
        super().__init__(daemon=True)
        self.arguments, self.answer, self.messages = (node.endpoint, method, request, metadata), None, 0
        self.over = threading.Event()
        self.start()

    def requests(self, request):
        yield request
        self.over.wait(PATIENCE)

    def run(self):
        endpoint, method, request, metadata = self.arguments
        with grpc.insecure_channel(endpoint) as channel:
            try:
                for _ in channel.stream_stream(method)(self.requests(request), metadata=metadata):
                    self.messages += 1
                self.answer = OK
            except grpc.RpcError as error:
                self.answer = (error.code().name, error.details())

    def result(self, patience=PATIENCE):
        join(self, patience)
        return self.answer


class Cluster:
    def __init__(self, binary, etcdctl, directory):
        directory.mkdir()
        self.ctl = Ctl(etcdctl)
        self.nodes = [Node(f"m{number}", binary, directory) for number in (1, 2, 3)]
        for node in self.nodes:
            node.start(self.nodes)

    def leader_of(self, node):
        """Whom this one takes for the leader; None: nobody."""
        status = self.ctl(node, "endpoint", "status")[0]["Status"]
        leader = status.get("leader", 0)
        if leader == status["header"]["member_id"]:
            return node
        for other in self.nodes:
            if other is not node and leader:
                member = self.ids.get(other.name)
                if member == leader:
                    return other
        return None

    def settle(self):
        """All know one leader; its followers come back."""
        until("all serve", lambda: all(self.ctl(node, "get", "x") for node in self.nodes), self.nodes)
        self.ids = {one["name"]: one["ID"] for one in self.ctl(self.nodes[0], "member", "list")["members"]}
        until("all follow one", lambda: len({self.leader_of(node).name for node in self.nodes}) == 1, self.nodes)
        self.leader = self.leader_of(self.nodes[0])
        self.followers = [node for node in self.nodes if node is not self.leader]

    def signal(self, number, *nodes):
        for node in nodes:
            os.kill(node.process.pid, number)

    def ask(self, node, requests, metadata=()):
        return {name: Call(node, *request, metadata) for name, request in requests.items()}

    def stop(self):
        for node in self.nodes:
            node.stop()


def answers(calls):
    return {name: call.result() for name, call in calls.items()}


def expect(heard, expected, of):
    return {f"{of}: {name}": (answer, expected) for name, answer in heard.items()}


def follower_alone(cluster):
    """Both others stand still: what was handed on is lost, what comes later finds nobody."""
    cluster.settle()
    asked, *others = cluster.followers
    assert Call(asked, LEASE + "LeaseGrant", b"\x08\xe0\x12\x10\x07").result() == OK
    watches = {name: Stream(asked, WATCH, b"\x0a\x03" + KEY, metadata)
               for name, metadata in (("leader needed", LEADER_NEEDED), ("not needed", ()))}
    kept = Stream(asked, LEASE + "LeaseKeepAlive", b"\x08\x07", LEADER_NEEDED)
    until("streams are open", lambda: kept.messages and all(one.messages for one in watches.values()), cluster.nodes)
    cluster.signal(signal.SIGSTOP, cluster.leader, *others)
    handed_on = cluster.ask(asked, WRITES)
    until("nobody leads", lambda: cluster.leader_of(asked) is None, [asked])
    unheard = cluster.ask(asked, WRITES)
    reads = cluster.ask(asked, READS)
    of_the_leader = cluster.ask(asked, OF_THE_LEADER)
    renewal = Stream(asked, LEASE + "LeaseKeepAlive", b"\x08\x07", ())
    results = expect(answers(cluster.ask(asked, LOCAL)), OK, "here")
    results |= expect(answers(cluster.ask(asked, LOCAL | WRITES, LEADER_NEEDED)), NO_LEADER, "leader needed")
    moved = Call(asked, MAINTENANCE + "MoveLeader", b"\x08\x07").result()
    results |= expect({"move": moved}, NOT_LEADER, "nobody leads")
    results |= expect(answers(handed_on), TIMED_OUT, "handed on")
    results |= expect(answers(unheard), DEADLINE, "nobody leads")
    results |= expect(answers(reads), TIMED_OUT, "nobody leads")
    results |= expect(answers(of_the_leader), NO_LEADER, "nobody leads")
    results |= expect({"renewal": renewal.result()}, NO_LEADER, "nobody leads")
    results |= expect({"watch": watches["leader needed"].result(), "keep alive": kept.result()}, NO_LEADER, "streams")
    results |= expect({"watch that needs none": watches["not needed"].result(0.1)}, None, "streams")
    # One: of several the first is under way then, and the others wait for the next round, which succeeds.
    late = cluster.ask(asked, {"range": READS["range"]})
    time.sleep(1)  # it is under way
    cluster.signal(signal.SIGCONT, cluster.leader, *others)
    results |= expect(answers(late), LEADER_CHANGED, "a leader appears")
    watches["not needed"].over.set()
    return results


def leader_alone(cluster):
    """Its followers stand still: it steps down, and what it was proposing is not heard of."""
    cluster.settle()
    cluster.signal(signal.SIGSTOP, *cluster.followers)
    results = expect(answers(cluster.ask(cluster.leader, WRITES)), TIMED_OUT, "leader alone")
    cluster.signal(signal.SIGCONT, *cluster.followers)
    return results


def failed_leader(cluster):
    """The one who is elected names the leader before it; the other cannot know."""
    for _ in range(5):
        cluster.settle()
        time.sleep(1)  # the connections are older than what is asked
        old, followers = cluster.leader, cluster.followers
        cluster.signal(signal.SIGSTOP, old)
        time.sleep(0.3)
        calls = {node.name: Call(node, *WRITES["put"]) for node in followers}
        heard = answers(calls)
        elected = cluster.leader_of(followers[0])
        cluster.signal(signal.SIGCONT, old)
        if elected is None or heard.get(elected.name) != LEADER_FAILED:
            continue  # the election took long: then it is not named
        other = next(node for node in followers if node is not elected)
        if heard[other.name] == CONNECTION_LOST:
            continue  # that to the new leader broke and came back meanwhile: then this is named
        return expect({"elected": heard[elected.name]}, LEADER_FAILED, "leader fails") | expect(
            {"not elected": heard[other.name]}, TIMED_OUT, "leader fails")
    raise AssertionError(f"nobody named the leader before: {heard}")


def lost_connections(cluster):
    """Both others go and come back: whoever leads then, the connections are new."""
    for _ in range(5):
        cluster.settle()
        asked, old = cluster.followers[0], cluster.leader
        others = [node for node in cluster.nodes if node is not asked]
        cluster.signal(signal.SIGSTOP, *others)
        call = Call(asked, *WRITES["put"])
        time.sleep(2.5)  # an election soon after the request would be named instead
        for node in others:
            node.stop()
        for node in others:
            node.start(cluster.nodes)
        if call.result() == CONNECTION_LOST:
            return expect({"put": call.result()}, CONNECTION_LOST, "connections")
        print(f"once more: {call.result()}, {old.name} led")
    raise AssertionError(f"no connection was lost: {call.result()}")


def run(cluster, scenes, results):
    for scene in scenes:
        results.update(scene(cluster))


def main():
    options = arguments(__doc__, ("etcd", "etcdctl"), "--only")
    etcd, etcdctl = options.peers / "etcd", options.peers / "etcdctl"
    scenes = [scene for scene in (follower_alone, leader_alone, failed_leader, lost_connections)
              if options.only in scene.__name__]
    with tempfile.TemporaryDirectory(prefix="keelson-stock-") as directory:
        clusters = {name: Cluster(binary, etcdctl, pathlib.Path(directory) / name)
                    for name, binary in (("etcd", etcd), ("keelson", options.server))}
        results = {name: {} for name in clusters}
        try:
            threads = [threading.Thread(target=run, args=(cluster, scenes, results[name]))
                       for name, cluster in clusters.items()]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            for cluster in clusters.values():
                cluster.signal(signal.SIGCONT, *(node for node in cluster.nodes if node.process.poll() is None))
                cluster.stop()
    wrong = 0
    for what, (heard, expected) in results["etcd"].items():
        ours = results["keelson"].get(what, (None,))[0]
        if heard != expected or ours != expected:
            wrong += 1
            print(f"{what}: expected {expected}, etcd {heard}, keelson {ours}")
    missing = results["etcd"].keys() ^ results["keelson"].keys()
    if wrong or missing or not results["etcd"]:
        sys.exit(f"{wrong} of {len(results['etcd'])} differ, missing: {sorted(missing)}")
    print(f"{len(results['etcd'])} answers, the same from both")


if __name__ == "__main__":
    main()
