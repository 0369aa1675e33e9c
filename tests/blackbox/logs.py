#!/usr/bin/env python3
"""What the log says of slow requests, in etcd's words; with limits of a nanosecond every request is slow.

The same test is asked of etcd where it is built: $ETCD_BIN, or tests/peers/bin/etcd.
"""

import json
import os
import subprocess

import harness
from harness import Grpc, data, number, until

TXN, GRANT, DELETE = "/etcdserverpb.KV/Txn", "/etcdserverpb.Lease/LeaseGrant", Grpc.DELETE
SECRET = b"secret-value"
ETCD = os.environ.get("ETCD_BIN", str(harness.ROOT / "tests/peers/bin/etcd"))


def entries(server, message):
    found = []
    for line in server.log().splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            if entry["msg"] == message:
                found.append(entry)
    return found


def requests(grpc):
    """(method, request) with answers of every kind that the log tells of."""
    compare = number(1, 0) + number(2, 3) + data(3, b"k1") + data(7, SECRET)
    put = data(2, data(1, b"k2") + data(2, SECRET))
    get = data(1, data(1, b"k1"))
    yield grpc.PUT, data(1, b"k1") + data(2, SECRET)
    yield grpc.RANGE, data(1, b"k1")
    yield TXN, data(1, compare) + data(2, put) + data(2, get)
    yield TXN, data(2, get)
    yield DELETE, data(1, b"k") + data(2, b"l")
    yield GRANT, number(1, 100)


STATS = {  # method -> request count, response count
    grpc: figures for grpc, figures in (
        (Grpc.PUT, [(1, 0)]), (Grpc.RANGE, [(0, 1)]), (TXN, [(2, 0), (1, 0)]), (DELETE, [(0, 2)]), (GRANT, [(-1, -1)]))
}


class Slow(harness.ServerTest):
    def check(self, server):
        server.start("--warning-apply-duration=1ns", "--warning-unary-request-duration=1ns")
        grpc = server.connect()
        asked = list(requests(grpc))
        sizes = [(len(message), len(grpc.call(method, message))) for method, message in asked]
        until(lambda: len(entries(server, "request stats")) >= len(asked), "lines of slow requests")
        self.assertNotIn(SECRET.decode(), server.log())
        stats = [entry for entry in entries(server, "request stats") if entry["response type"] in STATS]
        self.assertEqual([entry["response type"] for entry in stats], [method for method, _ in asked])
        figures = {method: list(pairs) for method, pairs in STATS.items()}
        for entry, (request_bytes, response_bytes) in zip(stats, sizes):
            self.assertEqual(entry["level"], "warn")
            self.assertRegex(entry["remote"], r"127\.0\.0\.1:\d+")
            self.assertRegex(entry["time spent"], r"^[\d.]+(ns|\u00b5s|ms)$")
            self.assertRegex(entry["start time"], r"^20\d\d-")
            method = entry["response type"]
            counts = figures[method].pop(0)
            self.assertEqual((entry["request count"], entry["response count"]), counts, method)
            if counts == (-1, -1):
                self.assertEqual((entry["request size"], entry["response size"], entry["request content"]), (-1, -1, ""))
                continue
            self.assertEqual(entry["response size"], response_bytes)
            if method != TXN:
                self.assertEqual(entry["request size"], request_bytes)
            else:
                self.assertRegex(entry["request content"], r"^compare:<.*> success:<.*> failure:<.*>$")
            if method in (grpc.PUT, TXN):
                self.assertTrue("value_size:12" in entry["request content"] or "request_range" in entry["request content"])
        slow = entries(server, "apply request took too long")
        self.assertTrue(slow)
        for entry in slow:
            self.assertEqual(entry["expected-duration"], "1ns")
        prefixes = [entry["prefix"] for entry in slow]
        for prefix in ("", "read-only range ", "read-only txn "):
            self.assertIn(prefix, prefixes)
        (answer,) = {entry["response"] for entry in slow if entry["prefix"] == "read-only range "
                     and '"k1"' in entry["request"]}
        self.assertRegex(answer, r"^range_response_count:1 size:\d+$")

    def test_every_kind(self):
        self.check(self.server())

    def test_every_kind_in_etcd(self):
        if not os.access(ETCD, os.X_OK) or subprocess.run([ETCD, "--version"], capture_output=True, check=False).returncode:
            self.skipTest("etcd is not built")
        self.check(self.server(binary=ETCD))

    def test_debug_tells_of_all(self):
        server = self.server().start("--log-level=debug")
        grpc = server.connect()
        grpc.put("k", "v")
        until(lambda: entries(server, "request stats"), "a line")
        self.assertEqual(entries(server, "request stats")[0]["level"], "debug")


if __name__ == "__main__":
    harness.main()
