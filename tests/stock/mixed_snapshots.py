#!/usr/bin/env python3
"""Members too far behind get a snapshot from a leader of the other kind: etcd from this server, this server from etcd.

    mixed_snapshots.py --server keelson --peers DIR       DIR has etcd, etcdctl and load

Each time two members of one kind and one of the other; the one is killed, the log goes on without it further than it
is kept, and it comes back. Exit 77: skipped, a program is not there.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from member import free_port  # noqa: E402

PATIENCE = 60  # seconds; a bound for what hangs, never a measure
WRITES = 400


class Node:
    def __init__(self, name, binary, directory):
        self.name, self.binary = name, binary
        self.directory = directory / name
        self.directory.mkdir()
        self.port, self.peer_port = free_port(), free_port()
        self.starts = 0
        self.process = None

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    @property
    def peer_url(self):
        return f"http://127.0.0.1:{self.peer_port}"

    def start(self, cluster):
        self.starts += 1
        self.log_path = self.directory / f"log{self.starts}"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [self.binary, f"--name={self.name}", f"--data-dir={self.directory / 'data'}",
                 f"--listen-client-urls=http://{self.endpoint}", f"--advertise-client-urls=http://{self.endpoint}",
                 f"--listen-peer-urls={self.peer_url}", f"--initial-advertise-peer-urls={self.peer_url}",
                 "--initial-cluster=" + ",".join(f"{one.name}={one.peer_url}" for one in cluster),
                 "--snapshot-count=100", "--snapshot-catchup-entries=20"], stdout=log, stderr=log)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def stop(self):
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=30)


def until(what, check, nodes):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if check():
                return
        except (RuntimeError, KeyError, IndexError):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {PATIENCE} s\n" + "\n".join(
                f"---- {node.name}\n{node.log()[-3000:]}" for node in nodes))
        time.sleep(0.1)


class Ctl:
    def __init__(self, program):
        self.program = str(program)

    def __call__(self, node, *arguments):
        done = subprocess.run([self.program, "--endpoints", node.endpoint, *arguments, "-w", "json"],
                              capture_output=True, timeout=PATIENCE)
        if done.returncode:
            raise RuntimeError(done.stderr.decode()[-500:])
        return json.loads(done.stdout) if done.stdout[:1] in (b"{", b"[") else done.stdout

    def revision(self, node):
        return self(node, "get", "x", "--consistency=s")["header"]["revision"]

    def hash(self, node, revision):
        one = self(node, "endpoint", "hashkv", f"--rev={revision}")[0]["HashKV"]
        return one["hash"], one.get("compact_revision")


def run(majority, single, peers, directory):
    """Two of `majority` and one of `single`, which is the one that is away."""
    ctl = Ctl(peers / "etcdctl")
    nodes = [Node(f"m{i}", majority if i < 2 else single, directory) for i in range(3)]
    away = nodes[2]

    def write(seed):
        done = subprocess.run([peers / "load", "-case", "fill", "-endpoint", nodes[0].endpoint, "-keys", str(WRITES),
                               "-per-txn", "1", "-value-bytes", "300", "-seed", str(seed), "-seconds", "60"],
                              capture_output=True, timeout=PATIENCE)
        if done.returncode:
            raise AssertionError(done.stderr.decode())

    try:
        for node in nodes:
            node.start(nodes)
        until("all serve", lambda: all(ctl(node, "get", "x") for node in nodes), nodes)
        ctl(nodes[0], "put", "before", "1")
        ctl(nodes[0], "lease", "grant", "1000")
        until("all have it", lambda: all(ctl.revision(node) == 2 for node in nodes), nodes)
        away.stop()
        until("somebody leads", lambda: ctl(nodes[0], "get", "x"), nodes[:2])
        write(1)
        ctl(nodes[0], "compaction", "300")
        away.start(nodes)
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
        away.start(nodes)
        until("it starts again", lambda: ctl.revision(away) == last and ctl(away, "get", "after")["count"] == 1, nodes)
        hashes = {ctl.hash(node, last) for node in nodes}
        if len(hashes) != 1:
            raise AssertionError(f"hashes differ at the end: {hashes}")
    finally:
        for node in nodes:
            node.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--peers", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    for name in ("etcd", "etcdctl", "load"):
        if not (arguments.peers / name).exists():
            print(f"skipped: no {arguments.peers / name}")
            return 77
    etcd = str(arguments.peers / "etcd")
    for what, majority, single in (("etcd takes ours", arguments.server, etcd), ("we take etcd's", etcd, arguments.server)):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="keelson-mixed-"))
        try:
            run(majority, single, arguments.peers, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        print(f"mixed_snapshots: {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
