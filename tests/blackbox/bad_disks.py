#!/usr/bin/env python3
"""Disks that are full or fail. Nothing acknowledged is lost; the server says NOSPACE while its reserve lasts,
then stops in words that name the file; it starts again when there is room, or when the disk is well.
"""

import errno
import os
import subprocess
import unittest

import harness
from harness import Broken, Refused, Writer, data, error_of, number, until

NOSPACE = 1


def alarms(grpc):
    """Kinds of the alarms that are raised."""
    answer = grpc.call(grpc.ALARM, b"")
    return [dict(harness.fields(value)).get(2, 0) for field, value in harness.fields(answer) if field == 2]


def disarm(grpc):
    for field, value in harness.fields(grpc.call(grpc.ALARM, b"")):
        if field == 2:
            member = dict(harness.fields(value))[1]
            grpc.call(grpc.ALARM, number(1, 2) + number(2, member) + number(3, NOSPACE))


class Full(harness.ServerTest):
    MEGABYTES = 192

    def setUp(self):
        super().setUp()
        self.mounted = self.directory / "disk"
        self.mounted.mkdir()
        if os.geteuid() != 0:
            self.skipTest("needs root, to mount a small tmpfs")
        if subprocess.run(self.mount(), check=False, capture_output=True).returncode != 0:
            self.skipTest("a tmpfs cannot be mounted here")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", self.mounted], check=True))
        self.addCleanup(lambda: [server.kill() for server in self.servers])

    def mount(self, size=MEGABYTES, *options):
        return ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}M", *options]), "tmpfs", self.mounted]

    def fill(self, server):
        """Puts until one is refused; what was acknowledged."""
        grpc, expected = server.connect(), {}
        for i in range(100_000):
            key = f"k{i:05}"
            value = os.urandom(32768)
            try:
                grpc.put(key, value)
            except Refused:
                return grpc, expected
            expected[key] = value
        self.fail("the disk does not fill")

    def test_no_space_is_an_alarm_and_room_can_be_made(self):
        server = self.server(data_dir=self.mounted / "data").start()
        grpc, expected = self.fill(server)
        self.assertEqual(alarms(grpc), [NOSPACE])
        self.assertIn("database space exceeded", server.log())
        self.assertEqual(grpc.get_all(), expected)
        # The alarm and the data outlive a crash on the full disk.
        server.kill()
        server.start()
        grpc = server.connect()
        self.assertEqual(alarms(grpc), [NOSPACE])
        self.assertEqual(grpc.get_all(), expected)
        with self.assertRaises(Refused):
            grpc.put("kx", "x")
        # Deleting and compacting make room; the alarm goes when it is disarmed.
        kept = dict(list(expected.items())[:10])
        grpc.call(grpc.DELETE, data(1, sorted(expected)[10].encode()) + data(2, b"\0"))
        revision = max(dict(harness.fields(dict(harness.fields(grpc.call(grpc.RANGE, data(1, b"k00000"))))[1]))[3], 1)
        grpc.call(grpc.COMPACT, number(1, revision) + number(2, 1))

        def writable():
            disarm(grpc)
            try:
                grpc.put("knew", "new")
                return True
            except Refused:
                return False

        until(writable, "room after a compaction")
        self.assertEqual(grpc.get_all(), {**kept, "knew": b"new"})

    def test_beyond_the_reserve_it_stops_and_starts_again_with_room(self):
        server = self.server(data_dir=self.mounted / "data").start()
        grpc, expected = self.fill(server)
        # Deletes are allowed under the alarm, and fill the log.
        with self.assertRaises((Broken, Refused)):
            for i in range(2000):
                grpc.call(grpc.DELETE, data(1, (f"a{i}" + "x" * 900_000).encode()))
        self.assertEqual(server.wait(), 1, server.log())
        error = error_of(server.log())
        self.assertIn("No space left on device", error)
        self.assertIn(str(self.mounted), error)
        # While it is full: refused, or served; never less than there was.
        server.spawn()
        if server.await_line("ready to serve client requests"):
            self.assertEqual(server.connect().get_all(), expected)
            server.kill()
        else:
            self.assertEqual(server.wait(), 1)
            self.assertIn("No space left on device", error_of(server.log()))
        subprocess.run(self.mount(4 * self.MEGABYTES, "remount"), check=True)
        server.start()
        grpc = server.connect()
        self.assertEqual(grpc.get_all(), expected)
        disarm(grpc)
        grpc.put("knew", "new")


class Failing(harness.ServerTest):
    """Calls that fail with EIO, by a preloaded library."""

    def setUp(self):
        super().setUp()
        faults = os.environ.get("KEELSON_FAULTS", str(harness.ROOT / "build/debug/lib/libfaulty_disk.so"))
        if not os.path.exists(faults):
            self.skipTest("the faulty disk is not built")
        self.control = self.directory / "control"
        self.env = {"LD_PRELOAD": faults, "FAULTY_DISK_CONTROL": str(self.control)}

    def order(self, *words):
        """From now on: operation, part of a path, errno, calls that are spared."""
        new = self.directory / "control.new"
        new.write_text(" ".join(str(word) for word in words) + "\n")
        new.rename(self.control)

    def test_a_failed_write_or_sync_stops_the_server_and_loses_nothing(self):
        for operation, part in [("write", ".wal"), ("sync", ".wal"), ("write", ".seg"), ("sync", ".seg"),
                                ("write", "store/"), ("sync", "store/")]:
            with self.subTest(operation=operation, part=part):
                server = self.server().start(env=self.env)
                expected = {}
                for _ in range(2):  # the second time on a store that has recovered once
                    writers = [Writer(server.client_port, f"{server.starts}-{i}") for i in range(4)]
                    for writer in writers:
                        writer.start()
                    until(lambda: all(len(writer.acknowledged) > 50 for writer in writers), "puts")
                    self.order(operation, part, errno.EIO, 3)
                    code = server.wait()
                    for writer in writers:
                        harness.join(writer)
                        expected.update(writer.acknowledged)
                    self.assertEqual(code, 1, server.log())
                    self.assertIn("Input/output error", error_of(server.log()))
                    self.assertIn(str(server.data / "member"), error_of(server.log()))
                    self.control.unlink()
                    server.start(env=self.env)
                    found = server.connect().get_all()
                    lost = {key for key, value in expected.items() if found.get(key) != value}
                    self.assertEqual(lost, set())
                server.kill()

    def test_a_start_from_a_disk_that_fails(self):
        server = self.server().start(env=self.env)
        server.connect().put("k1", "v1")
        server.terminate()
        for operation, part in [("read", ".wal"), ("read", ".seg"), ("read", "manifest"), ("open", ".wal"),
                                ("open", "manifest"), ("write", "store/"), ("sync", ".wal")]:
            with self.subTest(operation=operation, part=part):
                self.order(operation, part, errno.EIO)
                server.spawn(env=self.env)
                self.assertEqual(server.wait(), 1, server.log())
                self.assertIn("Input/output error", error_of(server.log()))
                self.assertIn(str(server.data), error_of(server.log()))
                self.control.unlink()
        server.start(env=self.env)
        self.assertEqual(server.connect().get_all(), {"k1": b"v1"})

    def test_files_of_the_log_that_cannot_be_prepared_are_made_later(self):
        self.order("write", "/0.tmp", errno.EIO)
        server = self.server().start(env=self.env)
        server.connect().put("k1", "v1")
        server.await_line("cannot prepare a file of the write-ahead log")
        self.control.unlink()
        server.connect().put("k2", "v2")
        until(lambda: list((server.data / "member/wal").glob("*.tmp")), "a file prepared")
        self.assertEqual(server.connect().get_all(), {"k1": b"v1", "k2": b"v2"})
        self.assertEqual(server.terminate(), -15)


if __name__ == "__main__":
    harness.main()
