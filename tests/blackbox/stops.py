#!/usr/bin/env python3
"""How a server ends: asked to, in the midst of work, or without being asked."""

import contextlib
import os
import random
import signal
import socket
import subprocess

import harness
from harness import Broken, Writer, until

SEED = int(os.environ.get("KEELSON_SEED", "7"))
ROUNDS = int(os.environ.get("KEELSON_KILLS", "5"))


class Load(harness.ServerTest):
    def load(self, server, count=8):
        writers = [Writer(server.client_port, f"{server.starts}-{i}") for i in range(count)]
        for writer in writers:
            writer.start()
        until(lambda: all(len(writer.acknowledged) > 20 for writer in writers), "puts")
        return writers

    def end(self, writers, expected):
        for writer in writers:
            writer.enough.set()
            harness.join(writer)
            expected.update(writer.acknowledged)

    def assert_all_there(self, server, expected):
        found = server.connect().get_all()
        self.assertEqual({key for key, value in expected.items() if found.get(key) != value}, set())


class Asked(Load):
    def test_a_signal_in_the_midst_of_load(self):
        server, expected = self.server(), {}
        for signum in (signal.SIGTERM, signal.SIGINT):
            server.start()
            writers = self.load(server)
            server.process.send_signal(signum)
            self.assertEqual(server.wait(), -signum, server.log())
            self.end(writers, expected)
            for line in ("received signal; shutting down", "closing etcd server", "closed etcd server"):
                self.assertIn(line, server.log())
            self.assertNotIn('"level":"error"', server.log())
            server.start()
            self.assert_all_there(server, expected)
            # What was asked for last was answered or refused, not cut off: what is there was acknowledged.
            unknown = [writer for writer in writers if isinstance(writer.end, Broken)]
            found = server.connect().get_all()
            asked = {f"k{writer.name}-{writer.asked - 1:06}" for writer in writers}
            self.assertEqual({key for key in asked if key in found} - set(expected), set(), unknown)
            self.assertEqual(server.terminate(), -signal.SIGTERM)

    def test_a_second_signal_changes_nothing(self):
        server = self.server().start()
        writers, expected = self.load(server), {}
        for _ in range(3):
            server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        # Signals that wait together are taken in no order one could rely on: either was the first.
        self.assertIn(server.wait(), (-signal.SIGTERM, -signal.SIGINT), server.log())
        self.assertEqual(server.log().count("received signal"), 1)
        self.end(writers, expected)
        self.assertIn("closed etcd server", server.log())
        server.start()
        self.assert_all_there(server, expected)

    def test_as_the_first_process_it_ends_with_0(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, for a process namespace")
        server = self.server()
        inner = server.binary
        wrapper = server.directory / "first"
        wrapper.write_text(f'#!/bin/sh\nexec unshare --pid --fork --kill-child "{inner}" "$@"\n')
        wrapper.chmod(0o755)
        server.binary = str(wrapper)
        server.start()
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.process.pid)], check=True,
                                  capture_output=True, text=True).stdout.split()
        self.assertEqual(len(children), 1)
        os.kill(int(children[0]), signal.SIGTERM)
        self.assertEqual(server.wait(), 0, server.log())

    def test_init_is_told_when_it_is_ready(self):
        server = self.server()
        path = str(server.directory / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind(path)
            server.start(env={"NOTIFY_SOCKET": path})
            self.assertEqual(harness.receive(notified, 100), b"READY=1")
        self.assertIn("successfully notified init daemon", server.log())


class Killed(Load):
    def test_at_any_time_under_load(self):
        server, expected, rng = self.server(), {}, random.Random(SEED)
        for _ in range(ROUNDS):
            server.start("--snapshot-count=50")
            self.assert_all_there(server, expected)
            writers = self.load(server)
            enough = sum(writer.asked for writer in writers) + rng.randrange(2000)
            until(lambda: sum(writer.asked for writer in writers) >= enough, "load")
            server.kill()
            self.end(writers, expected)
        server.start()
        self.assert_all_there(server, expected)

    def test_while_it_starts(self):
        server, rng = self.server(), random.Random(SEED)
        server.start()
        grpc, expected = server.connect(), {}
        for i in range(200):
            expected[f"k{i}"] = b"v" * 500
            grpc.put(f"k{i}", "v" * 500)
        server.kill()
        for _ in range(ROUNDS):
            server.spawn()
            lines = rng.randrange(1, 20)
            until(lambda: server.process.poll() is not None or server.log().count("\n") >= lines, "a line")
            server.kill()
        server.start()
        self.assert_all_there(server, expected)


class Listening(harness.ServerTest):
    def test_several_ports_and_kinds(self):
        server = self.server()
        path, second, metrics = server.directory / "socket", harness.free_port(), harness.free_port()
        given = server.arguments

        def arguments():
            urls = f"http://127.0.0.1:{server.client_port},http://[::1]:{second},unix://{path}"
            return [*given(), f"--listen-client-urls={urls}", f"--listen-metrics-urls=http://127.0.0.1:{metrics}"]

        server.arguments = arguments
        server.start()
        self.assertEqual(server.log().count("ready to serve client requests"), 3)
        for port in (server.client_port, metrics):
            health = harness.fetch(f"http://127.0.0.1:{port}/health")
            self.assertEqual(health.strip(), b'{"health":"true","reason":""}')
        for host in (f"127.0.0.1:{server.peer_port}", f"[::1]:{second}"):
            self.assertIn(b'"etcdserver":"3.7.1"', harness.fetch(f"http://{host}/version"))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /version HTTP/1.0\r\nHost: a\r\n\r\n")
            self.assertIn(b"200 OK", client.recv(1000))
        self.assertEqual(server.terminate(), -signal.SIGTERM)
        self.assertFalse(path.exists())

    def test_who_connects_early_is_served_when_it_is_ready(self):
        # Many restarts, each with a client that tries all the time: none sees an answer before readiness, and
        # whoever got in is served.
        server = self.server()
        for _ in range(3):
            server.spawn()

            def connection():
                with contextlib.suppress(OSError):
                    return server.connect()
            grpc = until(connection, "somebody listens", every=0)
            grpc.put("k", str(server.starts))
            self.assertEqual(grpc.get_all(), {"k": str(server.starts).encode()})
            self.assertEqual(server.terminate(), -signal.SIGTERM)


if __name__ == "__main__":
    harness.main()
