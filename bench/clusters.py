"""Cases of bench/run about three members on this one machine, three of each kind, one kind at a time. CPU is that of all
three together.
"""

import json
import re
import statistics
import subprocess
import time
import urllib.error
import urllib.request

import loads

KILLS = 20
VALUE_BYTES = 1024


class Cluster:
    """Three servers that are one cluster."""

    def __init__(self, members, options):
        self.members, self.options = members, options

    @property
    def name(self):
        return self.members[0].name

    def start(self):
        for member in self.members:
            member.start(self.members)
        for member in self.members:
            member.await_ready()

    def stop(self):
        for member in self.members:
            member.stop()

    def cpu_seconds(self):
        return sum(member.cpu_seconds() for member in self.members)

    def load(self, case, seconds, *more):
        return loads.run(self.options.load, self.members, case, seconds, *more)

    def ctl(self, members, *words):
        """What etcdctl answers, asked of those members."""
        endpoints = ",".join(f"127.0.0.1:{member.port}" for member in members)
        done = subprocess.run([self.options.etcdctl, f"--endpoints={endpoints}", "--write-out=json", *words],
                              capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return json.loads(done.stdout)

    def leader(self):
        """Its place."""
        for i, member in enumerate(self.members):
            status = self.status(member)
            if status["leader"] == status["header"]["member_id"]:
                return i
        raise RuntimeError("there is no leader")

    def status(self, member):
        return self.ctl([member], "endpoint", "status")[0]["Status"]


def medians(cluster, options, case, *more):
    """Of each metric, over the turns."""
    turns = [cluster.load(case, options.seconds, *more) for _ in range(options.rounds)]
    return {metric: statistics.median(turn[metric] for turn in turns) for metric in turns[0]}


def guarded(cluster, options, watchers=1000):
    """Updates of 1 KB under a guard by 200 callers, through all members, with watchers of what they write."""
    return medians(cluster, options, "guarded txn 200 callers", "-watchers", watchers)


def guarded_alone(cluster, options):
    return guarded(cluster, options, watchers=0)


def put_latency(cluster, options):
    return cluster.load("put latency by member", options.seconds * options.rounds)


def follower_get(cluster, options):
    return medians(cluster, options, "linearizable get", "-through", (cluster.leader() + 1) % 3)


def idle(cluster, options):
    time.sleep(3)
    before, start = cluster.cpu_seconds(), time.monotonic()
    time.sleep(options.seconds * 3)
    return {"CPU ms/s": (cluster.cpu_seconds() - before) / (time.monotonic() - start) * 1000}


def new_follower(cluster, options):
    """A learner joins a cluster with 1 GB of data, while one caller puts through the leader."""
    keys = options.keys
    cluster.load("fill", 120, "-keys", keys, "-value-bytes", VALUE_BYTES)
    time.sleep(5)
    newcomer = type(cluster.members[0])(cluster.name, cluster.members[0].binary,
                                        cluster.members[0].directory.parent.parent / "m3", "m3")
    leader = cluster.members[cluster.leader()]
    puts = subprocess.Popen(loads.words(options.load, cluster.members, "puts in phases", options.seconds, "-phases",
                                        "idle,adding,joining", "-keys", keys, "-value-bytes", 256),
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(options.seconds * 2)
        next_phase(puts)
        cluster.ctl(cluster.members, "member", "add", "m3", f"--peer-urls={newcomer.peer_url}", "--learner")
        next_phase(puts)
        start = time.monotonic()
        newcomer.start([*cluster.members, newcomer], "--initial-cluster-state=existing")
        target = applied_index(leader)
        if target == 0:
            raise SystemExit(f"{cluster.name}: the leader does not say how far it is")
        while applied_index(newcomer) < target:
            if time.monotonic() - start > 600:
                raise SystemExit(f"{cluster.name}: the new member is not there after 600 s; see\n{newcomer.tail()}")
            time.sleep(0.25)
        took = time.monotonic() - start
        out, err = puts.communicate(timeout=120)
    finally:
        puts.kill()
        newcomer.stop()
    got = loads.figures(cluster.members[0], "puts in phases", puts.returncode, out, err)
    return {"s until it has all": took, "idle p99 ms": got["idle p99 ms"], "joining p99 ms": got["joining p99 ms"],
            "joining max ms": got["joining max ms"], "joining p99 / idle": got["joining p99 ms"] / got["idle p99 ms"]}


def next_phase(puts):
    puts.stdin.write("next\n")
    puts.stdin.flush()


def applied_index(member):
    """As its metrics say. A client that is started each time would take more of the cores than some members do."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{member.port}/metrics", timeout=5) as answer:
            page = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return 0
    found = re.search(r"^etcd_server_proposals_applied_total (\S+)", page, re.M)
    return int(float(found[1])) if found else 0


def delete_all(cluster, options):
    """One DeleteRange of all keys, of 64 B, while 20 callers put others."""
    cluster.load("fill", 120, "-keys", options.keys, "-value-bytes", 64)
    time.sleep(5)
    return cluster.load("delete beside puts", 15, "-keys", options.keys, "-callers", 20)


def leader_killed(cluster, options):
    """From kill -9 of the leader, with etcd's own timers, until a write succeeds."""
    took = []
    for _ in range(KILLS):
        figures = cluster.load("leader killed", 1)
        took.append(figures["killed until a write s"])
        killed = cluster.members[int(figures["killed member"])]
        killed.kill()
        killed.start(cluster.members)
        killed.await_ready()
        time.sleep(1)
    return {"s until a write, median": statistics.median(took), "s until a write, worst": max(took)}


CASES = {"three: guarded txn 200 callers": guarded, "three: guarded txn, no watchers": guarded_alone,
         "three: put latency": put_latency, "three: get through a follower": follower_get,
         "three: idle": idle, "three: new follower": new_follower, "three: delete of all keys": delete_all,
         "three: leader killed": leader_killed}
