#!/usr/bin/env python3
"""Ports of servers are none that a connection could be given meanwhile."""

import socket
import sys
import unittest

sys.dont_write_bytecode = True
import ports  # noqa: E402


class Ports(unittest.TestCase):
    def test_below_those_of_connections(self):
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            first = int(file.read().split()[0])
        if first < ports.BEYOND:
            self.skipTest(f"this machine gives connections ports from {first} on")
        for _ in range(100):
            self.assertLess(ports.free_port(), first)

    def test_none_that_is_taken(self):
        ports.LOWEST, ports.BEYOND = self.two_free()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", ports.LOWEST))
            for _ in range(20):
                self.assertEqual(ports.free_port(), ports.LOWEST + 1)

    def two_free(self):
        """A range of two."""
        while True:
            first = ports.free_port()
            with socket.socket() as next_one:
                try:
                    next_one.bind(("127.0.0.1", first + 1))
                except OSError:
                    continue
                return first, first + 2


if __name__ == "__main__":
    unittest.main()
