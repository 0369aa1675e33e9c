"""A port for a server that a test is about to start."""

import random
import socket

# Linux gives connections theirs from 32768 on (net.ipv4.ip_local_port_range).
LOWEST, BEYOND = 10000, 32000


def free_port():
    """Free a moment ago, on loopback. Not of those that the kernel gives to connections: between the choice and the
    server's bind one of another test could have it."""
    while True:
        port = random.randrange(LOWEST, BEYOND)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
