"""Members of a cluster, of either kind, and etcdctl to ask them; and how the tests of clusters begin."""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import patience  # noqa: E402
from patience import ended  # noqa: E402
from ports import free_port  # noqa: E402


def arguments(about, programs, *more):
    """--server, --peers and flags of the test's own. Exit 77 where one of the programs is not in --peers."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--peers", required=True, type=pathlib.Path)
    for flag in more:
        parser.add_argument(flag, default="")
    options = parser.parse_args()
    for program in programs:
        if not (options.peers / program).exists():
            print(f"skipped: no {options.peers / program}")
            sys.exit(77)
    return options


def run_cases(test, cases):
    """Each is (what, work) with a directory of its own."""
    for what, work in cases:
        directory = pathlib.Path(tempfile.mkdtemp(prefix=f"keelson-{test}-"))
        started = time.monotonic()
        try:
            work(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        print(f"{test}: {what}, {time.monotonic() - started:.0f} s", flush=True)


class Node:
    def __init__(self, name, binary, directory):
        self.name, self.binary = name, binary
        self.directory = directory / name
        self.directory.mkdir()
        self.port, self.peer_port = free_port(), free_port()
        self.starts = 0
        self.process = None

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    @property
    def peer_url(self):
        return f"http://127.0.0.1:{self.peer_port}"

    def start(self, cluster, *more):
        """`cluster`: the nodes of --initial-cluster."""
        self.starts += 1
        self.log_path = self.directory / f"log{self.starts}"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [self.binary, f"--name={self.name}", f"--data-dir={self.directory / 'data'}",
                 f"--listen-client-urls=http://{self.endpoint}", f"--advertise-client-urls=http://{self.endpoint}",
                 f"--listen-peer-urls={self.peer_url}", f"--initial-advertise-peer-urls={self.peer_url}",
                 "--initial-cluster=" + ",".join(f"{one.name}={one.peer_url}" for one in cluster),
                 *more], stdout=log, stderr=log)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def stop(self):
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            ended(self.process)


def until(what, check, nodes):
    def holds():
        with contextlib.suppress(RuntimeError, KeyError, IndexError):
            return check()
    try:
        patience.until(holds, what, every=0.1)
    except AssertionError as late:
        raise AssertionError("\n".join([str(late), *(f"---- {node.name}\n{node.log()[-3000:]}" for node in nodes)])) \
            from None


class Ctl:
    def __init__(self, program):
        self.program = str(program)

    def __call__(self, node, *arguments):
        done = patience.run([self.program, "--endpoints", node.endpoint, *arguments, "-w", "json"])
        if done.returncode:
            raise RuntimeError(done.stderr.decode()[-500:])
        return json.loads(done.stdout) if done.stdout[:1] in (b"{", b"[") else done.stdout

    def revision(self, node):
        return self(node, "get", "x", "--consistency=s")["header"]["revision"]

    def hash(self, node, revision):
        one = self(node, "endpoint", "hashkv", f"--rev={revision}")[0]["HashKV"]
        return one["hash"], one.get("compact_revision")
