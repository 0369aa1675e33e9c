#!/usr/bin/env python3
"""Data directories that must not be served: in use, unreadable, of another make, damaged.

Whatever is wrong, one of two things holds: the start is refused, in words that name the file; or everything
that was acknowledged is there. Never a start with less.
"""

import os
import random
import shutil
import struct
import subprocess
import unittest
from pathlib import Path

import harness
from harness import Broken, Refused, data, error_of, number

SEED = int(os.environ.get("KEELSON_SEED", "7"))
BIG = 900_000  # what fits into the window of a stream at once
FLIPS = int(os.environ.get("KEELSON_FLIPS", "3"))  # of every file


def crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = crc32c_table()


def crc32c(octets, crc=0):
    crc ^= 0xFFFFFFFF
    for octet in octets:
        crc = crc >> 8 ^ TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF


def copy(source, target):
    """Keeps holes, which copies of preallocated logs are made of."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=auto", source, target], check=True)


def dig_holes(directory):
    """Zeros at the ends of files take no space any more: copies are quick."""
    for path in Path(directory).rglob("*"):
        if path.is_file():
            size = path.stat().st_size
            used = used_bytes(path)
            os.truncate(path, used)
            os.truncate(path, size)


def used_bytes(path):
    """Up to the last byte that is not zero."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - (1 << 20))
            file.seek(begin)
            kept = len(file.read(end - begin).rstrip(b"\0"))
            if kept:
                return begin + kept
            end = begin
    return 0


def frames_of_log(path):
    """(end, type, data) of each frame of one file of the log, in order."""
    octets = path.read_bytes()
    at = 0
    while (head := struct.unpack_from("<Q", octets, at)[0] if at + 8 <= len(octets) else 0) != 0:
        length = head & (1 << 56) - 1
        record = dict(harness.fields(octets[at + 8:at + 8 + length]))
        at += 8 + length + (head >> 56 & 7 if head >> 63 else 0)
        yield at, record[1], record.get(3, b"")


def append_to_log(path, request):
    """One more committed entry, as etcd's own log has them: frames of length, type, chained checksum, data."""
    octets = path.read_bytes()
    at, crc, term, index = 0, 0, 0, 0
    while (head := struct.unpack_from("<Q", octets, at)[0]) != 0:
        length = head & (1 << 56) - 1
        record = dict(harness.fields(octets[at + 8:at + 8 + length]))
        crc = record[2]
        if record[1] == 2:
            entry = dict(harness.fields(record[3]))
            term, index = entry.get(2, 0), entry.get(3, 0)
        at += 8 + length + (head >> 56 & 7 if head >> 63 else 0)
    entry = number(1, 0) + number(2, term) + number(3, index + 1) + data(4, request)
    state = number(1, term) + number(2, 0) + number(3, index + 1)
    with open(path, "r+b") as file:
        file.seek(at)
        for kind, content in ((2, entry), (3, state)):
            crc = crc32c(content, crc)
            record = number(1, kind) + number(2, crc) + data(3, content)
            padding = -len(record) % 8
            head = len(record) | ((0x80 | padding) << 56 if padding else 0)
            file.write(struct.pack("<Q", head) + record + bytes(padding))


def contents(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(Path(directory).rglob("*"))
            if path.is_file()}


class InUse(harness.ServerTest):
    def test_a_second_server_on_one_directory(self):
        first = self.server().start()
        grpc = first.connect()
        grpc.put("k1", "v1")
        second = self.server(data_dir=first.data)
        log = second.refused()
        self.assertIn("discovery failed", log)
        self.assertIn(f"lock {first.data}/member/store/manifest: another process has this store", error_of(log))
        grpc.put("k2", "v2")  # the first one does not mind
        self.assertEqual(grpc.get_all(), {"k1": b"v1", "k2": b"v2"})

    def test_without_permission(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to become somebody else")
        nobody = 65534
        server = self.server()
        for path in (self.directory, server.directory):
            path.chmod(0o755)
        binary = server.directory / "keelson"  # where nobody can reach it
        shutil.copy(harness.BIN, binary)
        server.binary = str(binary)
        server.data.mkdir(mode=0o700)
        log = server.refused(user=nobody, group=nobody)
        self.assertIn("failed to list data directory", log)
        self.assertIn(str(server.data), log)
        os.chown(server.data, nobody, nobody)
        server.data.chmod(0o500)
        self.assertRegex(error_of(server.refused(user=nobody, group=nobody)),
                         rf"cannot access data directory: .*{server.data}.*ermission denied")

    def test_permissions_that_let_others_in(self):
        server = self.server()
        server.data.mkdir(mode=0o755)
        server.data.chmod(0o755)
        server.start()
        self.assertIn("check file permission", server.log())
        self.assertIn(r'the permission is \"drwxr-xr-x\"', server.log())


class Foreign(harness.ServerTest):
    def refused_unchanged(self, server, *parts):
        before = contents(server.data)
        error = error_of(server.refused())
        for part in parts:
            self.assertIn(part, error)
        self.assertEqual(contents(server.data), before)

    def test_etcds_own_directory(self):
        server = self.server()
        database = server.data / "member/snap/db"
        database.parent.mkdir(parents=True, mode=0o700)
        database.write_bytes(b"bolt")
        self.refused_unchanged(server, str(database), "etcd's own database", "not there yet")

    def test_a_directory_that_etcd_made(self):
        etcd = os.environ.get("ETCD_BIN", str(harness.ROOT / "tests/peers/bin/etcd"))
        if not os.access(etcd, os.X_OK):
            self.skipTest("etcd is not built")
        server = self.server(binary=etcd).start()
        server.connect().put("k1", "v1")
        server.terminate()
        server.binary = harness.BIN
        self.refused_unchanged(server, "member/snap/db")

    def test_a_proxys_directory(self):
        server = self.server()
        (server.data / "proxy").mkdir(parents=True)
        self.assertIn("v2 http proxy has already been deprecated", server.refused())

    def test_a_log_without_its_store(self):
        server = self.server().start()
        grpc = server.connect()
        expected = {f"k{i}": bytes([i]) * BIG for i in range(80)}  # more than one file of log
        for key, value in expected.items():
            grpc.put(key, value)
        server.terminate()
        store = server.data / "member/store"
        # The log reaches back to the beginning: it makes the store again.
        shutil.rmtree(store)
        server.start()
        self.assertEqual(server.connect().get_all(), expected)
        server.terminate()
        # It does not any more.
        logs = sorted((server.data / "member/wal").glob("*.wal"))
        self.assertGreater(len(logs), 1)
        logs[0].unlink()
        shutil.rmtree(store)
        before = contents(server.data)
        error = error_of(server.refused())
        self.assertIn(str(server.data / "member/wal"), error)
        self.assertEqual(contents(server.data), before)

    def test_a_newer_cluster_version(self):
        server = self.server().start()
        server.connect().put("k1", "v1")
        server.terminate()
        append_to_log(sorted((server.data / "member/wal").glob("*.wal"))[-1],
                      data(1300, data(1, b"3.8.0")))  # ClusterVersionSet
        server.start()  # takes it from the log ...
        server.connect().put("k2", "v2")
        server.terminate()
        error = error_of(server.refused())  # ... and now finds it in the store
        self.assertIn("invalid downgrade; server version is lower than determined cluster version", error)
        self.assertIn("3.8.0", error)
        self.assertIn(str(server.data), error)

    def test_a_newer_format(self):
        for name in ("manifest", "*.seg", "*.log"):
            with self.subTest(name):
                server = self.server().start()
                server.connect().put("k1", "v1")
                server.terminate()
                path = sorted((server.data / "member/store").glob(name))[-1]
                octets = bytearray(path.read_bytes())
                octets[8:12] = struct.pack("<I", 2)
                octets[:4] = struct.pack("<I", crc32c(octets[4:64]))
                path.write_bytes(octets)
                error = error_of(server.refused())
                self.assertIn(str(path), error)
                self.assertRegex(error, "version 2")


class Damaged(harness.ServerTest):
    """Bits flip in any file."""

    def prepare(self, server, large):
        """Puts, deletes, compactions, snapshots, restarts. What must be there, and what must not."""
        expected = {}
        server.start("--snapshot-count=40")
        grpc = server.connect()
        rng = random.Random(SEED)
        for i in range(150):
            key = f"k{rng.randrange(60):03}"
            if rng.random() < 0.2 and expected:
                gone = rng.choice(sorted(expected))
                grpc.call(grpc.DELETE, data(1, gone.encode()))
                del expected[gone]
            else:
                expected[key] = rng.randbytes(rng.randrange(1, 700)).hex().encode()
                grpc.put(key, expected[key])
            if i == 70:
                grpc.call(grpc.COMPACT, number(1, 60) + number(2, 1))
            if i == 100:
                server.terminate()
                server.start("--snapshot-count=40")
                grpc = server.connect()
        if large:
            for i in range(65):  # a sealed segment
                expected[f"klarge{i:02}"] = rng.randbytes(BIG)
                grpc.put(f"klarge{i:02}", expected[f"klarge{i:02}"])
            segment = server.data / "member/store/0000000000000001.seg"
            harness.until(lambda: segment.stat().st_size < 60 << 20, "the first segment sealed")
        return expected

    def check(self, server, expected, what):
        server.spawn()
        if not server.await_line("ready to serve client requests"):
            self.assertEqual(server.wait(), 1, f"{what}\n{server.log()}")
            error = error_of(server.log())
            self.assertIn(str(server.data), error, what)
            return "refused"
        grpc = server.connect()
        outcome = "whole"
        try:
            found = grpc.get_all()
        except (Refused, Broken):  # a record that cannot be read: an error for whoever asks for it
            outcome = "a read refused"
            grpc = server.connect()
            found = {}
            for key in expected:
                try:
                    answer = dict(harness.fields(grpc.call(grpc.RANGE, data(1, key.encode()))))
                    found[key] = dict(harness.fields(answer[2]))[5] if 2 in answer else None
                except (Refused, Broken):
                    found[key] = expected[key]
                    grpc = server.connect()
        self.assertEqual(found, expected, what)
        server.kill()
        return outcome

    def flip_everywhere(self, server, expected, flips, files):
        pristine = self.directory / "pristine"
        copy(server.data, pristine)
        dig_holes(pristine)
        rng = random.Random(SEED)
        outcomes = {}
        for path in files(pristine):
            used = used_bytes(path)
            if used == 0:
                continue
            offsets = sorted({0, 8, used - 1, *(rng.randrange(used) for _ in range(flips))})
            for offset in offsets:
                bit = rng.randrange(8)
                copy(pristine, server.data)
                broken = server.data / path.relative_to(pristine)
                with open(broken, "r+b") as file:
                    file.seek(offset)
                    octet = file.read(1)[0]
                    file.seek(offset)
                    file.write(bytes([octet ^ 1 << bit]))
                what = f"bit {bit} of byte {offset} of {path.relative_to(pristine)}"
                with self.subTest(what):
                    outcome = self.check(server, expected, what)
                    kind = path.suffix or path.name
                    outcomes.setdefault(kind, {}).setdefault(outcome, 0)
                    outcomes[kind][outcome] += 1
                server.kill()
        print(outcomes)

    def test_flipped_bits_after_a_clean_stop(self):
        server = self.server()
        expected = self.prepare(server, large=False)
        server.terminate()
        self.flip_everywhere(server, expected, FLIPS,
                             lambda root: [path for path in sorted(root.rglob("*")) if path.is_file()])

    def test_flipped_bits_after_a_crash(self):
        server = self.server()
        expected = self.prepare(server, large=False)
        server.kill()
        self.flip_everywhere(server, expected, FLIPS,
                             lambda root: [path for path in sorted(root.rglob("*")) if path.is_file()])

    def test_flipped_bits_in_sealed_segments(self):
        server = self.server()
        expected = self.prepare(server, large=True)
        server.terminate()
        self.flip_everywhere(server, expected, FLIPS,
                             lambda root: sorted(root.rglob("*.seg"))[:1] + sorted(root.rglob("*.dead")))

    def test_a_torn_tail_is_repaired(self):
        server = self.server()
        expected = self.prepare(server, large=False)
        server.kill()
        path = sorted((server.data / "member/wal").glob("*.wal"))[-1]
        octets = path.read_bytes()
        used = (len(octets.rstrip(b"\0")) + 7) // 8 * 8
        # A frame whose first sector came to the disk and whose second did not.
        frame = struct.pack("<Q", 1016) + b"\x08\x02\x10\x01\x1a\xef\x07"
        frame += b"x" * (512 - (used + len(frame)) % 512)
        with open(path, "r+b") as file:
            file.seek(used)
            file.write(frame)
        server.start()
        self.assertIn("repaired WAL", server.log())
        self.assertTrue(Path(f"{path}.broken").exists())
        self.assertEqual(server.connect().get_all(), expected)


class Cut(harness.ServerTest):
    """The log is shorter than it was: a file system that was repaired, a copy that was broken off.

    What was acknowledged is there as far as the log goes. A log that ends before what the store has is refused.
    """

    PUTS = 300

    def prepare(self, server):
        """One put after the other, killed; the log and the pristine copy of it all."""
        server.start()
        grpc = server.connect()
        for i in range(self.PUTS):
            grpc.put(f"k{i:04}", "v" * 200)
        server.kill()
        pristine = self.directory / "pristine"
        copy(server.data, pristine)
        dig_holes(pristine)
        return pristine

    def puts_before(self, frames, size):
        """How many puts lie whole within the first `size` bytes."""
        count = 0
        for end, kind, content in frames:
            if end > size:
                break
            entry = dict(harness.fields(content)) if kind == 2 else {}
            request = dict(harness.fields(entry.get(4, b""))) if entry.get(1, 0) == 0 else {}
            count += 4 in request  # a put
        return count

    def test_a_log_that_was_cut(self):
        server = self.server()
        pristine = self.prepare(server)
        (log,) = sorted((pristine / "member/wal").glob("*.wal"))
        frames = list(frames_of_log(log))
        self.assertEqual(self.puts_before(frames, 1 << 40), self.PUTS)
        ends = [end for end, _, _ in frames]
        rng = random.Random(SEED)
        cuts = {ends[-1] - 1, ends[-1], ends[-2] + 4, ends[-2] + 8, ends[len(ends) // 10] + 9,
                *(rng.randrange(ends[10], ends[-1]) for _ in range(10))}
        outcomes = []
        for cut in sorted(cuts):
            with self.subTest(cut=cut):
                copy(pristine, server.data)
                broken = server.data / log.relative_to(pristine)
                os.truncate(broken, cut)
                server.spawn()
                if not server.await_line("ready to serve client requests"):
                    self.assertEqual(server.wait(), 1, server.log())
                    error = error_of(server.log())
                    self.assertIn(str(server.data / "member"), error)
                    self.assertRegex(error, "entries are missing|before its commit index")
                    outcomes.append("refused")
                    continue
                # What is there is what the log has, not less and nothing else.
                count = self.puts_before(frames, cut)
                self.assertEqual(sorted(server.connect().get_all()), [f"k{i:04}" for i in range(count)])
                if cut not in ends:
                    self.assertIn("repaired WAL", server.log())
                    saved = Path(f"{broken}.broken")
                    self.assertEqual(saved.read_bytes()[:cut], log.read_bytes()[:cut])
                server.connect().put("knew", "v")
                server.kill()
                server.start()
                self.assertEqual(len(server.connect().get_all()), count + 1)
                server.kill()
                outcomes.append("repaired")
            server.kill()
        print(outcomes)
        self.assertEqual(outcomes[-1], "repaired", "only zeros were cut off")

    def test_after_a_clean_stop_nothing_may_be_missing(self):
        server = self.server()
        server.start()
        grpc = server.connect()
        for i in range(20):
            grpc.put(f"k{i:04}", "v" * 200)
        server.terminate()
        (log,) = sorted((server.data / "member/wal").glob("*.wal"))
        frames = list(frames_of_log(log))
        entries = [i for i, (_, kind, _) in enumerate(frames) if kind == 2]
        os.truncate(log, frames[entries[-1] - 1][0] + 12)  # in the midst of the last entry
        error = error_of(server.refused())
        self.assertIn(str(server.data / "member/wal"), error)
        self.assertRegex(error, "entries are missing")


if __name__ == "__main__":
    harness.main()
