#!/usr/bin/env python3
"""What `snapshot save` takes from this server is a snapshot of etcd's: its own tools find nothing wrong with it, and
etcd itself goes on from it with the same data.

    snapshots.py --server keelson --keelsonctl keelsonctl --peers DIR --bolt-file P --stage-file P

DIR has etcd, etcdctl and etcdutl. What etcd then writes is read back by ours: a store is staged from its files, as a
follower does with what a leader sends.

Exit 77: skipped, a program is not there.
"""
import argparse
import json
import pathlib
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
from member import Member, PEER_URL  # noqa: E402
import patience  # noqa: E402

PER_TXN = 100


class Ctl:
    def __init__(self, program, member):
        self.command = [str(program), "--endpoints", member.endpoint]

    def __call__(self, *arguments, stdin=b""):
        done = patience.run([*self.command, *arguments], stdin, within=120)
        if done.returncode:
            raise RuntimeError(f"{arguments[:3]}: {done.returncode}: {done.stderr.decode()[-2000:]}")
        return done.stdout

    def json(self, *arguments):
        return json.loads(self(*arguments, "-w", "json"))

    def revision(self):
        return self.json("get", "nothing")["header"]["revision"]

    def hash_at(self, revision):
        one = self.json("endpoint", "hashkv", f"--rev={revision}")[0]["HashKV"]
        return one["hash"], one["compact_revision"]

    def leases(self):
        return sorted(lease["id"] for lease in self.json("lease", "list").get("leases", []))

    def all_keys(self):
        answer = self.json("get", "", "--prefix")
        return [(kv["key"], kv.get("value"), kv["mod_revision"], kv["version"], kv.get("lease")) for kv in answer["kvs"]]

    def put_many(self, begin, count, length):
        for first in range(begin, begin + count, PER_TXN):
            lines = [f"put key{i:05} {'v' * (1 + i * 37 % length)}" for i in range(first, first + PER_TXN)]
            self("txn", stdin=("\n" + "\n".join(lines) + "\n\n\n").encode())


def fill(ctl):
    ctl.put_many(0, 2000, 700)
    ctl.put_many(500, 500, 100)
    ctl("del", "key00100", "key00300")
    ctl("put", "large", stdin=b"x" * 1_000_000)
    lease = ctl.json("lease", "grant", "1000")["ID"]
    ctl("put", "leased", "1", f"--lease={lease:x}")
    ctl("compaction", str(ctl.revision() - 4))
    ctl.put_many(1800, 400, 300)
    ctl("del", "key00400", "key00420")
    ctl("put", "key00400", "again")


def expect(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: {str(got)[:500]}, expected {str(want)[:500]}")


def status(etcdutl, path):
    done = patience.run([etcdutl, "snapshot", "status", path, "-w", "json"], within=120)
    if done.returncode:
        raise AssertionError(f"etcdutl snapshot status: {done.stderr.decode()[-2000:]}")
    return json.loads(done.stdout)


def restore(etcdutl, path, data):
    done = patience.run(
        [etcdutl, "snapshot", "restore", path, "--data-dir", data, "--name=m0", f"--initial-cluster=m0={PEER_URL}",
         "--initial-cluster-token=stock", f"--initial-advertise-peer-urls={PEER_URL}"], within=120)
    if done.returncode:
        raise AssertionError(f"etcdutl snapshot restore: {done.stderr.decode()[-2000:]}")


def lines_of(*command):
    done = patience.run(command, within=300)
    if done.returncode:
        raise AssertionError(f"{command}: {done.stderr.decode()[-2000:]}")
    return done.stdout.decode().split("\n")


def expect_staged(what, bolt_file, stage_file, path, work):
    """A store that is staged from a db file has its records, in their order."""
    dumped = lines_of(bolt_file, "dump", path)
    begin = dumped.index("bucket 6b6579 0") + 1
    records = dumped[begin:dumped.index("end", begin)]
    staged = lines_of(stage_file, path, work / f"staged {what}")
    expect(f"records staged from {what}", staged[:-1] == records, True)
    return len(records)


def run(server, keelsonctl, peers, bolt_file, stage_file, work):
    etcd, etcdctl, etcdutl = (peers / name for name in ("etcd", "etcdctl", "etcdutl"))
    theirs, ours = work / "theirs.db", work / "ours.db"
    with Member(server) as subject:
        ctl = Ctl(etcdctl, subject)
        fill(ctl)
        ctl("snapshot", "save", str(theirs))
        out = Ctl(keelsonctl, subject)("snapshot", "save", str(ours)).decode()
        expect("keelsonctl's words", out, f"Snapshot saved at {ours}\nServer version 3.7.0\n")
        expect("two snapshots of one state", ours.read_bytes() == theirs.read_bytes(), True)
        expect("what is left of the part", [one.name for one in work.iterdir() if "part" in one.name], [])
        keys, revision, leases = ctl.all_keys(), ctl.revision(), ctl.leases()
        hashes = {at: ctl.hash_at(at) for at in range(revision - 5, revision + 1)}
    told = status(etcdutl, ours)
    expect("revision", told["revision"], revision)
    expect("keys", told["totalKey"], len(keys))
    expect("version", told["version"], "3.7.0")
    expect("size", told["totalSize"] + 32, ours.stat().st_size)
    with at_restored(etcd, etcdutl, ours) as restored:
        ctl = Ctl(etcdctl, restored)
        expect("keys after the restore", ctl.all_keys(), keys)
        expect("leases after the restore", ctl.leases(), leases)
        for at, value in hashes.items():
            expect(f"hash at {at} after the restore", ctl.hash_at(at), value)
        # etcd writes into our pages, and finds them again.
        ctl.put_many(0, 1000, 50)
        ctl("del", "key00900", "key01900")
        ctl("compaction", str(ctl.revision()), "--physical")
        ctl("defrag")
        after = work / "after.db"
        ctl("snapshot", "save", str(after))
        expect("keys of etcd's own snapshot", status(etcdutl, after)["totalKey"], len(ctl.all_keys()))
        ctl.put_many(0, 1500, 900)
        ctl.put_many(100, 1500, 80)
        restored.stop()
        # Stopped as it was: pages that are free, and more of the file than is used.
        in_use = restored.directory / "data/member/snap/db"
        count = expect_staged("a file in use", bolt_file, stage_file, in_use, work)
        expect("records of the last puts are there", count > 3000, True)
    expect_staged("etcd's snapshot", bolt_file, stage_file, after, work)
    expect_staged("our snapshot", bolt_file, stage_file, ours, work)


def at_restored(etcd, etcdutl, snapshot):
    member = Member(etcd)
    restore(etcdutl, snapshot, member.directory / "data")
    return member


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--keelsonctl", required=True)
    parser.add_argument("--peers", type=pathlib.Path, required=True)
    parser.add_argument("--bolt-file", required=True)
    parser.add_argument("--stage-file", required=True)
    arguments = parser.parse_args()
    for name in ("etcd", "etcdctl", "etcdutl"):
        if not (arguments.peers / name).exists():
            print(f"skipped: no {arguments.peers / name}")
            return 77
    work = pathlib.Path(tempfile.mkdtemp(prefix="keelson-snapshots-"))
    try:
        run(arguments.server, arguments.keelsonctl, arguments.peers, arguments.bolt_file, arguments.stage_file, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("snapshots: etcd goes on from ours, and we from its")
    return 0


if __name__ == "__main__":
    sys.exit(main())
