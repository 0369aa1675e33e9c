"""One member on loopback for a test: free ports, a directory of its own, ids that are always the same."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from patience import ended, until  # noqa: E402
from ports import free_port  # noqa: E402

# Advertised only, so fixed: member and cluster id follow from it.
PEER_URL = "http://127.0.0.1:12380"
CLIENT_URL = "http://127.0.0.1:12379"


class Member:
    """Starts `binary`, etcd or keelson alike; a context manager that stops it by its own process id."""

    def __init__(self, binary, *flags):
        self.binary = str(binary)
        self.flags = flags
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="keelson-stock-"))
        self.port = free_port()
        self.peer_port = free_port()
        self.process = None

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "--name=m0", f"--data-dir={self.directory / 'data'}",
                 f"--listen-client-urls=http://{self.endpoint}", f"--advertise-client-urls={CLIENT_URL}",
                 f"--listen-peer-urls=http://127.0.0.1:{self.peer_port}",
                 f"--initial-advertise-peer-urls={PEER_URL}", f"--initial-cluster=m0={PEER_URL}",
                 "--initial-cluster-token=stock", "--log-level=warn", *self.flags],
                stdout=log, stderr=log)
        until(lambda: self.process.poll() is not None or self.is_ready(), f"{self.binary} is ready", every=0.02)
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.binary} is not ready:\n{self.log()}")
        return self

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://{self.endpoint}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def log(self):
        return (self.directory / "log").read_text(errors="replace")[-4000:]

    def stop(self, how=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, how)
            ended(self.process)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
