#!/usr/bin/env python3
"""Clients that are many, slow, silent, half gone or rude. Whatever they do, the others are served, the server's
memory stays bounded, and what they held is free once they are gone.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import harness
from harness import Broken, Grpc, Refused, Writer, data, number, until

TXN = "/etcdserverpb.KV/Txn"
WATCH, GRANT = "/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseGrant"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Grpc.frame(4, 0, 0, b"")
MIB = 1 << 20


def head(path, stream=1, flags=4):
    fields = b"".join(Grpc.header(name, value) for name, value in (
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
        ("content-type", "application/grpc"), ("te", "trailers")))
    return Grpc.frame(1, flags, stream, fields)


def body(message, stream=1, end=True):
    return Grpc.frame(0, int(end), stream, b"\0" + len(message).to_bytes(4, "big") + message)


def frames(octets):
    """(kind, flags, stream, payload) of whole frames."""
    while len(octets) >= 9:
        length = int.from_bytes(octets[:3], "big")
        yield octets[3], octets[4], int.from_bytes(octets[5:9], "big"), octets[9:9 + length]
        octets = octets[9 + length:]


def put_request(key, value):
    return data(1, key.encode()) + data(2, value)


def watch_request(key, end=b"\0"):
    return data(1, data(1, key.encode()) + data(2, end))


def memory(server, what="RssAnon"):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(what + ":"))


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def reset(sock):
    """Closes with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def limit_descriptors(soft, hard):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Clients(harness.ServerTest):
    def raw(self, server, octets=b""):
        sock = socket.socket()
        sock.settimeout(harness.PATIENCE)
        sock.connect(("127.0.0.1", server.client_port))
        self.addCleanup(sock.close)
        if octets:
            sock.sendall(octets)
        return sock

    def assert_serves(self, server, grpc=None):
        grpc = grpc or server.connect()
        grpc.put("kalive", "yes")
        self.assertEqual(grpc.get_all("kalive")["kalive"], b"yes")

    def need_descriptors(self, count):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < count:
            self.skipTest(f"needs {count} descriptors, {hard} may be had")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))


class Many(Clients):
    COUNT = 10_000

    def await_settings(self, socks):
        """Until each has the server's SETTINGS: then it is a connection, not a place in a queue."""
        poll = select.poll()
        waiting = {sock.fileno() for sock in socks}
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        def look():
            for fd, _ in poll.poll(100):
                waiting.discard(fd)
                poll.unregister(fd)
            return not waiting
        until(look, "connections that are served", within=4 * harness.PATIENCE)

    def test_ten_thousand_at_once(self):
        self.need_descriptors(self.COUNT + 500)
        # A shell's soft limit is none for the server, as for etcd.
        server = self.server().start(preexec_fn=limit_descriptors(256, self.COUNT + 1000))
        worker = server.connect()
        worker.put("k", "v")
        before, fds = memory(server), descriptors(server)
        idle = []
        for at in range(0, self.COUNT, 500):  # not more at once than a queue of connections takes
            some = [self.raw(server, PREFACE) for _ in range(500)]
            self.await_settings(some)
            idle += some
        self.assertGreaterEqual(descriptors(server), fds + self.COUNT)
        each = (memory(server) - before) / self.COUNT
        print(f"anonymous memory per idle connection: {each / 1024:.1f} KiB")
        self.assertLess(each, 24 * 1024)
        self.assert_serves(server, worker)
        # Some of them work, each its own call on its own connection, all of them at once.
        busy = idle[::20]
        for i, sock in enumerate(busy):
            sock.sendall(head(Grpc.PUT) + body(put_request(f"kbusy{i:03}", b"x")))
        until(lambda: len(worker.get_all("kbusy")) == len(busy), "puts on 500 connections")
        after = memory(server)
        for sock in idle:
            sock.close()
        until(lambda: descriptors(server) < fds + 50, "descriptors of clients that went")
        self.assert_serves(server, worker)
        until(lambda: memory(server) - before < (after - before) // 2, "memory of clients that went")
        print(f"anonymous memory: {before // 1024} KiB, with connections {after // 1024}, without {memory(server) // 1024}")
        self.assertEqual(server.terminate(), -signal.SIGTERM)

    def test_beyond_the_limit_they_wait(self):
        server = self.server().start(preexec_fn=limit_descriptors(256, 400))
        worker = server.connect()
        worker.put("kfirst", "v")
        crowd = [self.raw(server, PREFACE) for _ in range(400)]
        poll = select.poll()
        for sock in crowd:
            poll.register(sock.fileno(), select.POLLIN)
        served = set()

        def count():
            for fd, _ in poll.poll(0):
                served.add(fd)
                poll.unregister(fd)
            return len(served)

        until(lambda: count() >= 150, "connections below the limit")
        # The server goes on: what it needs for itself is kept back. A file of log and more is written.
        for i in range(72):
            worker.put(f"klarge{i:02}", os.urandom(900_000))
        self.assertLess(count(), 250)
        self.assertLess(descriptors(server), 400)
        with self.assertRaises(OSError):  # in the queue, and nobody takes it out
            waiting = self.raw(server, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            waiting.settimeout(0.2)
            waiting.recv(1)
        # Those who go make room for those who wait.
        gone = [sock for sock in crowd if sock.fileno() in served][:100]
        before = len(served)
        for sock in gone:
            poll_fd = sock.fileno()
            sock.close()
            self.assertIn(poll_fd, served)
        until(lambda: count() >= before + 90, "the next ones")
        self.assert_serves(server, worker)
        for sock in crowd:
            sock.close()
        self.assertIn(b'"health":"true"', harness.fetch(f"http://{server.endpoint}/health"))
        self.assertNotIn('"level":"error"', server.log())
        self.assertEqual(server.terminate(), -signal.SIGTERM)


class Slow(Clients):
    def test_large_answers_that_nobody_reads(self):
        server = self.server().start()
        worker = server.connect()
        value = os.urandom(MIB - 1000)
        for i in range(64):
            worker.put(f"klarge{i:02}", value)
        before = memory(server)
        window = Grpc.frame(4, 0, 0, b"\0\x04" + (0x7FFFFFFF).to_bytes(4, "big")) + \
            Grpc.frame(8, 0, 0, (0x7FFF0000).to_bytes(4, "big"))
        everything = data(1, b"klarge") + data(2, b"\0")
        for _ in range(20):  # 10 streams each: 12.8 GB are asked for
            self.raw(server, PREFACE + window + b"".join(
                head(Grpc.RANGE, stream) + body(everything, stream) for stream in range(1, 21, 2)))
        started = time.monotonic()
        for i in range(200):
            worker.put("kother", str(i))
        took = time.monotonic() - started
        growth = memory(server) - before
        print(f"200 slow readers of 64 MB: {growth / MIB:.1f} MiB; 200 puts beside them: {took:.2f} s")
        self.assertLess(growth, 128 * MIB)
        self.assertEqual(worker.get_all("kother")["kother"], b"199")

    def test_answers_made_in_one_piece_that_nobody_reads(self):
        """Txns and sorted ranges are gathered. Who leaves too many unread is refused, and nobody else."""
        server = self.server().start()
        worker = server.connect()
        for i in range(24):
            worker.put(f"klarge{i:02}", os.urandom(900_000))
        before = memory(server)
        everything = data(1, b"klarge") + data(2, b"\0")
        txn = data(2, data(1, everything))
        by_value = everything + number(5, 2) + number(6, 4)
        socks = []
        for _ in range(4):  # 80 txns and 80 ranges: 3.5 GB
            calls = [(TXN, txn)] * 20 + [(Grpc.RANGE, by_value)] * 20
            socks.append(self.raw(server, PREFACE + b"".join(
                head(path, 1 + 2 * i) + body(message, 1 + 2 * i) for i, (path, message) in enumerate(calls))))
        for i in range(300):
            worker.put("kother", str(i))
        for sock in socks:
            sock.close()
        until(lambda: memory(server) < before + 200 * MIB, "memory of clients that went")
        self.assert_serves(server, worker)

    def test_watches_that_nobody_reads(self):
        server = self.server().start()
        worker = server.connect()
        value = os.urandom(500_000)
        worker.put("kfirst", "v")
        slow = []
        for _ in range(20):
            grpc = Grpc(server.client_port)
            self.addCleanup(grpc.close)
            grpc.send(head(WATCH) + body(watch_request("kw"), end=False))
            while grpc.take_frame()[0] != 0:  # "created"
                pass
            slow.append(grpc)
        before = memory(server)
        count = 100
        for i in range(count):  # 1 GB of events
            worker.put(f"kw{i:03}", value)
        growth = memory(server) - before
        print(f"20 slow watchers, {count} events of 500 KB: {growth / MIB:.1f} MiB")
        self.assertLess(growth, 256 * MIB)
        self.assert_serves(server, worker)
        # They lose nothing: who reads again gets all, in order.
        for grpc in slow[:3]:
            self.assertEqual([key for key, _ in self.events(grpc, count)], [f"kw{i:03}".encode() for i in range(count)])

    def events(self, grpc, count):
        """The next events of a watch as (key, mod_revision)."""
        found, octets = [], b""
        while len(found) < count:
            kind, _, stream, payload = grpc.take_frame()
            if kind == 0 and stream == 1:
                octets += payload
                grpc.send(Grpc.frame(8, 0, 1, max(len(payload), 1).to_bytes(4, "big")))
            while len(octets) >= 5 and len(octets) >= 5 + int.from_bytes(octets[1:5], "big"):
                length = int.from_bytes(octets[1:5], "big")
                for field, event in harness.fields(octets[5:5 + length]):
                    if field == 11:
                        pair = dict(harness.fields(dict(harness.fields(event))[2]))
                        found.append((pair[1], pair[3]))
                octets = octets[5 + length:]
        return found

    def test_heads_that_come_drop_by_drop(self):
        server = self.server().start()
        worker = server.connect()
        self.assert_serves(server, worker)
        before, fds = memory(server), descriptors(server)
        drops = [self.raw(server, b"GET /health HTTP/1.1\r\nHost: a\r\n") for _ in range(150)]
        drops += [self.raw(server, PREFACE[:-9 - 3]) for _ in range(150)]
        drops += [self.raw(server, PREFACE + head(Grpc.PUT)[:20]) for _ in range(150)]
        for drop in range(30):
            for i, sock in enumerate(drops):
                with contextlib.suppress(OSError):
                    if i < 150:
                        sock.sendall(f"x{drop}: {'y' * 1000}\r\n".encode())
            self.assert_serves(server, worker)
        growth = memory(server) - before
        print(f"450 unfinished heads: {growth / MIB:.1f} MiB")
        self.assertLess(growth, 64 * MIB)
        # A head may not grow without end either.
        endless = self.raw(server, b"GET /health HTTP/1.1\r\nHost: a\r\n")
        with contextlib.suppress(OSError):
            for _ in range(2000):
                endless.sendall(b"x: " + b"y" * 1000 + b"\r\n")
        self.assertIn(b"431 Request Header Fields Too Large", endless.recv(1000))
        endless.close()
        for sock in drops:
            sock.close()
        until(lambda: descriptors(server) < fds + 10, "descriptors of clients that went")
        self.assert_serves(server, worker)


class Silent(Clients):
    def goodbye(self, sock):
        """Reads to the end: (error code, debug data) of the GOAWAY."""
        octets, found = b"", None
        with contextlib.suppress(ConnectionResetError):
            while more := sock.recv(1 << 16):
                octets += more
        for kind, _, _, payload in frames(octets):
            if kind == 7:
                found = int.from_bytes(payload[4:8], "big"), payload[8:]
        return found

    def test_who_pings_too_often_is_sent_away(self):
        server = self.server().start()
        ping = Grpc.frame(6, 0, 0, b"12345678")
        without_calls = self.raw(server, PREFACE + 4 * ping)
        self.assertEqual(self.goodbye(without_calls), (11, b"too_many_pings"))
        with_a_call = self.raw(server, PREFACE + head(WATCH))
        with_a_call.sendall(4 * ping)
        self.assertEqual(self.goodbye(with_a_call), (11, b"too_many_pings"))
        patient = self.raw(server, PREFACE + head(WATCH) + body(watch_request("kw"), end=False) + 3 * ping)
        patient.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            while patient.recv(1 << 16):
                pass  # not sent away
        # Its pings were too many, its answers were not: others on the port do not mind.
        self.assert_serves(server)

    def test_who_does_not_answer_pings_is_gone(self):
        server = self.server().start("--grpc-keepalive-interval=1s", "--grpc-keepalive-timeout=1s")
        dead = self.raw(server, PREFACE + head(WATCH) + body(watch_request("kw"), end=False))
        alive = Grpc(server.client_port)
        self.addCleanup(alive.close)
        alive.send(head(WATCH) + body(watch_request("kw"), end=False))
        finished = threading.Event()

        def answer():  # pings, as take_frame() does
            with contextlib.suppress(Broken):
                while not finished.is_set():
                    if alive.take_frame()[0] == 0 and dead.fileno() < 0:
                        break

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with contextlib.suppress(ConnectionResetError):
            while dead.recv(1 << 16):  # ends: that is the test
                pass
        dead.close()
        self.assertTrue(thread.is_alive(), "who answers stays")
        server.connect().put("kw", "x")
        harness.join(thread)
        self.assertFalse(thread.is_alive(), "and its watch lives")
        finished.set()


class HalfGone(Clients):
    def end_of(self, sock):
        """Ends our side; all that still comes."""
        sock.shutdown(socket.SHUT_WR)
        octets = b""
        while more := sock.recv(1 << 16):
            octets += more
        return octets

    def test_who_has_asked_is_answered(self):
        server = self.server().start()
        for i in range(50):
            octets = self.end_of(self.raw(server, PREFACE + head(Grpc.PUT) + body(put_request(f"k{i:02}", b"v"))))
            kinds = [(kind, flags) for kind, flags, stream, _ in frames(octets) if stream == 1]
            self.assertEqual(kinds, [(1, 4), (0, 0), (1, 5)], "headers, the answer, trailers")
        self.assertEqual(len(server.connect().get_all()), 50)
        for _ in range(20):
            sock = self.raw(server, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertIn(b'{"health":"true","reason":""}', self.end_of(sock))

    def test_what_would_go_on_for_ever_ends(self):
        server = self.server().start()
        fds = descriptors(server)
        for _ in range(50):
            self.end_of(self.raw(server, PREFACE + head(WATCH) + body(watch_request("k"), end=False)))
            self.end_of(self.raw(server, PREFACE + head(Grpc.PUT) + body(b"", end=False)[:3]))
            self.end_of(self.raw(server, b"GET /hea"))
        until(lambda: descriptors(server) <= fds + 2, "descriptors of clients that went")
        self.assert_serves(server)


class Rude(Clients):
    def test_resets_at_any_byte(self):
        server = self.server().start()
        worker = server.connect()
        self.assert_serves(server, worker)
        fds = descriptors(server)
        whole = PREFACE + head(Grpc.PUT) + body(put_request("kreset", b"x" * 3000)) + head(WATCH, 3) + \
            body(watch_request("k"), 3, end=False) + head(Grpc.RANGE, 5) + body(data(1, b"\0") + data(2, b"\0"), 5)
        for at in range(1, len(whole) + 1, 7):
            reset(self.raw(server, whole[:at]))
        for at in range(1, 40):
            reset(self.raw(server, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"[:at]))
        self.assert_serves(server, worker)
        until(lambda: descriptors(server) <= fds + 1, "descriptors of clients that went")
        # Half a put was never one.
        self.assertIn(worker.get_all("kreset").get("kreset"), (None, b"x" * 3000))
        self.assertNotIn('"level":"error"', server.log())
        self.assertEqual(server.terminate(), -signal.SIGTERM)


def stopped_whole(pid):
    """The signal reaches one thread after the other."""
    states = [task.joinpath("stat").read_text().rpartition(")")[2].split()[0]
              for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(state == "T" for state in states)


class Stopped(Clients):
    """A server that the kernel does not let run for a while: a paused virtual machine, a frozen container."""

    def grant(self, grpc, ttl):
        return dict(harness.fields(grpc.call(GRANT, number(1, ttl))))[2]

    def test_for_longer_than_a_lease(self):
        server = self.server().start()
        grpc = server.connect()
        short, long = self.grant(grpc, 2), self.grant(grpc, 3600)
        grpc.call(grpc.PUT, put_request("lshort", b"v") + number(3, short))
        grpc.call(grpc.PUT, put_request("llong", b"v") + number(3, long))
        writers = [Writer(server.client_port, f"{i}") for i in range(4)]
        for writer in writers:
            writer.start()
        until(lambda: all(len(writer.acknowledged) > 20 for writer in writers), "puts")
        for _ in range(3):
            server.process.send_signal(signal.SIGSTOP)
            until(lambda: stopped_whole(server.process.pid), "each thread stopped")
            stopped = time.monotonic()
            asked = [writer.asked for writer in writers]
            while time.monotonic() < stopped + 1.5:  # it is the time that is tested
                time.sleep(0.05)
            self.assertTrue(all(writer.asked <= was + 1 for writer, was in zip(writers, asked)))
            server.process.send_signal(signal.SIGCONT)
            until(lambda: all(writer.asked > was + 20 for writer, was in zip(writers, asked)), "puts go on")
        # The lease's time went on; its key goes, once, and no other.
        until(lambda: "lshort" not in grpc.get_all("l"), "the end of a lease")
        self.assertIn("llong", grpc.get_all("l"))
        for writer in writers:
            writer.enough.set()
            harness.join(writer)
            self.assertIsNone(writer.end)
        expected = {key: value for writer in writers for key, value in writer.acknowledged.items()}
        found = grpc.get_all("k")
        self.assertEqual({key for key, value in expected.items() if found.get(key) != value}, set())
        server.kill()
        server.start()
        found = server.connect().get_all("k")
        self.assertEqual({key for key, value in expected.items() if found.get(key) != value}, set())


if __name__ == "__main__":
    harness.main()
