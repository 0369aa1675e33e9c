"""A server as its users see it: a process with ports, files, a log and an exit code.

Only Python's standard library. The server under test is $KEELSON_BIN. A test that needs what this machine
does not give skips itself with the reason.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from patience import PATIENCE, ended, fetch, join, receive, run, until  # noqa: E402
from ports import free_port  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = os.environ.get("KEELSON_BIN", str(ROOT / "build/release/bin/keelson"))


class Server:
    """One server in a directory of its own, started as often as the test likes."""

    def __init__(self, directory, binary=BIN, data_dir=None):
        self.directory = Path(directory)
        self.data = Path(data_dir) if data_dir else self.directory / "data"
        self.binary = binary
        self.client_port, self.peer_port = free_port(), free_port()
        self.process = None
        self.starts = 0
        self.connections = []

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    def arguments(self):
        client = f"http://127.0.0.1:{self.client_port}"
        # What is advertised stays the same over restarts on other ports: the ids come from it.
        peer = "http://127.0.0.1:2380"
        return ["--name=m0", f"--data-dir={self.data}", f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}", f"--listen-peer-urls=http://127.0.0.1:{self.peer_port}",
                f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=m0={peer}"]

    def spawn(self, *more, env=None, **options):
        """Starts and does not wait. The log of each start is a file."""
        self.starts += 1
        self.log_path = self.directory / f"log{self.starts}"
        self.arguments_given = [self.binary, *self.arguments(), *more]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.arguments_given, stdout=log, stderr=log, cwd=self.directory,
                                            env={**os.environ, **(env or {})}, **options)
        return self

    def start(self, *more, **options):
        """Starts and waits until clients are served."""
        for _ in range(5):
            self.spawn(*more, **options)
            if self.await_line("ready to serve client requests"):
                return self
            if "address already in use" not in self.log():
                break
            self.client_port, self.peer_port = free_port(), free_port()  # somebody was faster
        raise AssertionError(f"the server did not start: {self.process.poll()}\n{self.log()}")

    def log(self):
        return self.log_path.read_text(errors="replace")

    def await_line(self, text):
        """True once `text` is in the log; False if the process ended without it."""
        def look():
            is_over = self.process.poll() is not None
            return "found" if text in self.log() else "ended" if is_over else None
        return until(look, f"a line {text!r} in {self.log_path}") == "found"

    def wait(self):
        """The exit code; negative: the signal."""
        try:
            return ended(self.process)
        except AssertionError:
            self.kill()
            raise

    def refused(self, *more, **options):
        """Starts a server that must refuse to start; its log."""
        self.spawn(*more, **options)
        code = self.wait()
        if code != 1:
            raise AssertionError(f"exit {code}, expected 1\n{self.log()}")
        return self.log()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process:
            self.process.wait()
        self.hang_up()

    def hang_up(self):
        while self.connections:
            self.connections.pop().close()

    def terminate(self):
        self.hang_up()
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def connect(self):
        self.connections.append(Grpc(self.client_port))
        return self.connections[-1]


class ServerTest(unittest.TestCase):
    """A temporary directory and servers that are gone at the end, whatever happened."""

    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix="keelson-test-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.servers = []
        self.addCleanup(lambda: [server.kill() for server in self.servers])
        self.addCleanup(self.show_logs)

    def show_logs(self):
        """Of a test that went wrong: how each server's log ends."""
        result = self._outcome.result
        if any(self in (test, getattr(test, "test_case", None)) for test, _ in result.errors + result.failures):
            for server in self.servers:
                print(f"--- the end of {server.log_path}", *server.log().splitlines()[-20:], sep="\n", file=sys.stderr)

    def server(self, **options):
        directory = self.directory / f"s{len(self.servers)}"
        directory.mkdir()
        self.servers.append(Server(directory, **options))
        return self.servers[-1]


def error_of(log):
    """The `error` of the line with which a start or a run ended, or that line's message."""
    for line in reversed(log.splitlines()):
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if entry.get("level") in ("fatal", "panic"):
                return entry.get("error", entry["msg"])
    return ""


# --- gRPC, as far as a put and a range need it ---------------------------------------------------

def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def data(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def fields(message):
    """(field, value) of a protobuf message; numbers as int, the rest as bytes."""
    at = 0

    def take():
        nonlocal at
        shift = value = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = take()
        if tag & 7 == 0:
            yield tag >> 3, take()
        elif tag & 7 == 2:
            length = take()
            yield tag >> 3, message[at:at + length]
            at += length
        else:
            raise ValueError(f"wire type {tag & 7}")


class Broken(Exception):
    """The connection ended before the answer came: nobody knows what became of the request."""


class Refused(Exception):
    """The server answered with a status other than OK."""


class Grpc:
    """One HTTP/2 connection, one call at a time. A status is known only as: a message came, or none did."""

    PUT, RANGE, COMPACT = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Compact"
    ALARM = "/etcdserverpb.Maintenance/Alarm"
    DELETE = "/etcdserverpb.KV/DeleteRange"

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""
        self.next_stream, self.stream, self.last_begun = 1, 0, None
        self.window = self.initial_window = self.stream_window = 65535
        window = b"\0\x04" + (0x7FFFFFFF).to_bytes(4, "big")
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(4, 0, 0, window)
                            + self.frame(8, 0, 0, (0x7FFF0000).to_bytes(4, "big")))

    @staticmethod
    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def read(self, size):
        while len(self.input) < size:
            try:
                more = receive(self.socket, 1 << 16)
            except OSError as error:
                raise Broken(str(error)) from None
            if not more:
                raise Broken("end of connection")
            self.input += more
        taken, self.input = self.input[:size], self.input[size:]
        return taken

    @staticmethod
    def header(name, value):  # literal, never indexed, not compressed
        return b"\x10" + b"".join(bytes([len(text)]) + text for text in (name.encode(), value.encode()))

    def take_frame(self):
        """(kind, flags, stream, payload) of the next frame; what concerns the connection is done here."""
        head = self.read(9)
        payload = self.read(int.from_bytes(head[:3], "big"))
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF
        if kind == 4 and not flags & 1:
            for at in range(0, len(payload), 6):
                if int.from_bytes(payload[at:at + 2], "big") == 4:
                    value = int.from_bytes(payload[at + 2:at + 6], "big")
                    self.stream_window += value - self.initial_window
                    self.initial_window = value
            self.send(self.frame(4, 1, 0, b""))
        elif kind == 6 and not flags & 1:
            self.send(self.frame(6, 1, 0, payload))
        elif kind == 8 and stream == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind == 8 and stream == self.stream:
            self.stream_window += int.from_bytes(payload, "big")
        elif kind == 7:
            self.last_begun = int.from_bytes(payload[:4], "big")
            if self.last_begun < self.stream:
                raise Refused("GOAWAY")  # the stream was not begun
        elif kind == 3 and stream == self.stream:
            error = int.from_bytes(payload, "big")
            raise (Refused if error == 7 else Broken)(f"RST_STREAM {error}")  # 7: it was not begun
        return kind, flags, stream, payload

    def send(self, octets):
        try:
            self.socket.sendall(octets)
        except OSError as error:
            raise Broken(str(error)) from None

    def call(self, path, message):
        """The answer's bytes. Refused: the server said no. Broken: unknown."""
        self.stream, self.stream_window = self.next_stream, self.initial_window
        self.next_stream += 2
        if self.last_begun is not None:
            raise Refused("GOAWAY")
        head = b"".join(self.header(name, value) for name, value in (
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
            ("content-type", "application/grpc"), ("te", "trailers")))
        body = b"\0" + len(message).to_bytes(4, "big") + message
        self.send(self.frame(1, 4, self.stream, head))
        while body:
            size = min(len(body), 16384, self.window, self.stream_window)
            if size <= 0:
                self.take_frame()
                continue
            self.send(self.frame(0, int(size == len(body)), self.stream, body[:size]))
            body = body[size:]
            self.window -= size
            self.stream_window -= size
        answer = bytearray()
        while True:
            kind, flags, stream, payload = self.take_frame()
            if stream != self.stream or kind not in (0, 1):
                continue
            if kind == 0:
                answer += payload
                if payload:
                    self.send(self.frame(8, 0, stream, len(payload).to_bytes(4, "big")))
            if flags & 1:
                break
        if len(answer) < 5:
            raise Refused("a status without a message")
        length = int.from_bytes(answer[1:5], "big")
        if len(answer) < 5 + length:  # an answer that began and could not be finished is never padded
            raise Refused("a status inside a message")
        return bytes(answer[5:5 + length])

    def put(self, key, value):
        self.call(self.PUT, data(1, key.encode()) + data(2, value if isinstance(value, bytes) else value.encode()))

    def get_all(self, prefix="k"):
        """Every key and value from `prefix` on."""
        answer = self.call(self.RANGE, data(1, prefix.encode()) + data(2, b"\0"))
        found = {}
        for field, value in fields(answer):
            if field == 2:
                pair = dict(fields(value))
                found[pair[1].decode()] = pair.get(5, b"")
        return found

    def close(self):
        self.socket.close()


class Writer(threading.Thread):
    """Puts one key after the other until it is refused or cut off, and remembers what was acknowledged."""

    def __init__(self, port, name, size=64):
        super().__init__(daemon=True)
        self.port, self.name, self.size = port, name, size
        self.acknowledged = {}
        self.asked = 0
        self.end = None
        self.enough = threading.Event()

    def run(self):
        try:
            with contextlib.closing(Grpc(self.port)) as grpc:
                while not self.enough.is_set():
                    key = f"k{self.name}-{self.asked:06}"
                    value = (key * (self.size // len(key) + 1))[:self.size].encode()
                    self.asked += 1
                    grpc.put(key, value)
                    self.acknowledged[key] = value
        except (Broken, Refused, OSError) as end:
            self.end = end


def main():
    unittest.main(verbosity=2)


__all__ = ["BIN", "Broken", "Grpc", "PATIENCE", "ROOT", "Refused", "Server", "ServerTest", "Writer", "data", "error_of",
           "fetch", "fields", "free_port", "join", "main", "number", "re", "receive", "run", "until"]
