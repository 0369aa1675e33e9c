"""tests/peers/bin/load, run for bench/run and what lies beside it."""

import json
import subprocess


def words(binary, servers, case, seconds, *more):
    return [str(word) for word in (
        binary, "-endpoint", ",".join(f"127.0.0.1:{server.port}" for server in servers),
        "-pid", ",".join(str(server.process.pid) for server in servers), "-case", case, "-seconds", seconds, *more)]


def figures(server, case, returncode, stdout, stderr):
    """As {metric: value}."""
    if returncode != 0:
        raise SystemExit(f"{server.name}: {case}: {stderr.strip()}")
    return {row["metric"]: row["value"] for row in map(json.loads, stdout.splitlines())}


def run(binary, servers, case, seconds, *more):
    """Figures of one case."""
    done = subprocess.run(words(binary, servers, case, seconds, *more), capture_output=True, text=True,
                          timeout=seconds * 4 + 180, check=False)
    return figures(servers[0], case, done.returncode, done.stdout, done.stderr)
