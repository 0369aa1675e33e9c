#!/usr/bin/env python3
"""Members that are called by host names, in a private /etc/hosts.

    names.py --server keelson --peers DIR       DIR has etcd and etcdctl

What etcd compares by asking DNS, this server does alike: the same words, the same exit code. Then a cluster of both kinds
whose members know each other by names only: one comes back with another address each time, one joins. Exit 77: skipped.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from nodes import Ctl, Node, arguments, run_cases, until  # noqa: E402
from patience import ended  # noqa: E402

INSIDE = "KEELSON_NAMES_INSIDE"  # set in the namespace


def into_namespace():
    """Starts this program again where what is mounted is seen by nobody else."""
    own = ["unshare", "--mount"] + ([] if os.getuid() == 0 else ["--user", "--map-root-user"])
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        print("skipped: no mount namespaces here")
        sys.exit(77)
    os.environ[INSIDE] = "1"
    os.execvp(own[0], [*own, sys.executable, *sys.argv])


class Hosts:
    """What names mean: /etc/hosts, and no DNS server that would answer for others."""

    def __init__(self, directory):
        self.names = {}
        files = {"/etc/hosts": "", "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
                 "/etc/nsswitch.conf": "hosts: files dns\n"}
        for path, text in files.items():
            ours = directory / pathlib.Path(path).name
            ours.write_text(text)
            if subprocess.run(["mount", "--bind", ours, path], capture_output=True, check=False).returncode:
                print(f"skipped: nothing can be mounted at {path}")
                sys.exit(77)
        self.set()

    def set(self, **names):
        """Names, with '_' for '.'; None: no longer known."""
        self.names.update({name.replace("_", "."): address for name, address in names.items()})
        lines = ["127.0.0.1 localhost"] + [f"{address} {name}" for name, address in self.names.items() if address]
        pathlib.Path("/etc/hosts").write_text("\n".join(lines) + "\n")


class Named(Node):
    """A member that lists itself and others by name, and listens at the address its name has at a start."""

    def __init__(self, name, binary, directory, address):
        super().__init__(name, binary, directory)
        self.address = address
        self.advertised = None

    @property
    def endpoint(self):
        return f"{self.address}:{self.port}"

    @property
    def peer_url(self):  # as --initial-cluster has it
        return f"http://{self.name}.test:{self.peer_port}"

    def start(self, cluster, *more):
        advertised = self.advertised or self.peer_url
        super().start(cluster, f"--listen-peer-urls=http://{self.address}:{self.peer_port}",
                      f"--initial-advertise-peer-urls={advertised}", *more)


@contextlib.contextmanager
def started(node, cluster, *more):
    try:
        node.start(cluster, *more)
        yield node
    finally:
        node.stop()


def last_error(node):
    """What a start was refused for."""
    for line in reversed(node.log().splitlines()):
        if line.startswith("{") and json.loads(line)["level"] == "fatal":
            return json.loads(line)["error"]
    raise AssertionError(f"nothing fatal in\n{node.log()}")


def check_starts(options, directory, hosts):
    """lone members that list a name and advertise an address"""
    wrong_host = ('--initial-cluster has {name}={url} but missing from --initial-advertise-peer-urls={advertised} '
                  '(resolved urls: "{advertised}" != "http://127.0.0.5:{port}")')
    gone = ('--initial-cluster has {name}={url} but missing from --initial-advertise-peer-urls={advertised} '
            '(failed to resolve "{url}" (')  # then what the last lookup said, or that the time is over
    kinds = [("etcd", options.peers / "etcd"), ("keelson", options.server)]
    rows = [("own", "127.0.0.5", None), ("late", "127.0.0.5", None), ("wrong", "127.0.0.9", wrong_host),
            ("gone", "127.0.0.9", gone)]
    nodes = []
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        for what, address, refusal in rows:
            for kind, binary in kinds:
                node = Named(f"{what}-{kind}", binary, directory, "127.0.0.5")
                node.advertised = f"http://{address}:{node.peer_port}"
                if what in ("own", "wrong"):
                    hosts.set(**{f"{node.name}_test": "127.0.0.5"})
                nodes.append((node, what, refusal))
                stack.enter_context(started(node, [node]))
        for node, what, refusal in nodes:
            if what == "late":
                until("it asks", lambda: "failed to resolve URL Host" in node.log(), [node])
                hosts.set(**{f"{node.name}_test": "127.0.0.5"})
            if refusal is None:
                until("it serves", lambda: Ctl(options.peers / "etcdctl")(node, "put", "a", "b"), [node])
                continue
            if ended(node.process, within=120) != 1:
                raise AssertionError(f"{node.name}: ended with {node.process.returncode}\n{node.log()}")
            said = last_error(node)
            expected = refusal.format(name=node.name, url=node.peer_url, advertised=node.advertised, port=node.peer_port)
            if not said.startswith(expected):
                raise AssertionError(f"{node.name}: {said}\nrather than\n{expected}")
            if what == "gone" and time.monotonic() - begun < 29:
                raise AssertionError(f"{node.name}: gave up after {time.monotonic() - begun:.0f} s")


def check_signal(options, directory, hosts):
    """a signal ends who waits for a name"""
    hosts.set(m_test=None)
    for kind, binary in (("etcd", options.peers / "etcd"), ("keelson", options.server)):
        node = Named("m", binary, directory, "127.0.0.5")
        node.advertised = f"http://127.0.0.5:{node.peer_port}"
        with started(node, [node]):
            until("it asks", lambda: "failed to resolve URL Host" in node.log(), [node])
            node.process.send_signal(signal.SIGTERM)
            if ended(node.process) != -signal.SIGTERM:
                raise AssertionError(f"{kind}: ended with {node.process.returncode}\n{node.log()}")
        shutil.rmtree(node.directory)


def check_cluster(options, directory, hosts):
    """a cluster of both kinds, whose members come back with other addresses"""
    ctl = Ctl(options.peers / "etcdctl")
    kinds = [options.server, options.peers / "etcd", options.server]
    nodes = [Named(f"n{i}", kind, directory, f"127.0.1.{i + 1}") for i, kind in enumerate(kinds)]
    joining = Named("n3", options.server, directory, "127.0.1.4")
    hosts.set(**{f"{node.name}_test": node.address for node in [*nodes, joining]})
    try:
        for node in nodes:
            node.start(nodes)
        until("all serve", lambda: all(ctl(node, "get", "x") for node in nodes), nodes)
        for i, node in enumerate(nodes):
            node.stop()
            until("the others go on", lambda: ctl(nodes[i - 1], "put", "away", node.name), nodes)
            node.address = f"127.0.2.{i + 1}"
            hosts.set(**{f"{node.name}_test": node.address})
            node.start(nodes)
            until(f"{node.name} is back", lambda: ctl(node, "get", "away")["kvs"], nodes)
            # As leader it has to be reached by all of them, each of which asks what its name means now.
            status = ctl(node, "endpoint", "status")[0]["Status"]
            until(f"{node.name} leads", lambda: lead(ctl, nodes, node, status["header"]["member_id"]), nodes)
            for one in nodes:
                until("writes pass through all", lambda: ctl(one, "put", "through", one.name), nodes)
        # Added by its address, listed by its name.
        url = f"http://{joining.address}:{joining.peer_port}"
        until("it is added", lambda: ctl(nodes[0], "member", "add", "n3", f"--peer-urls={url}"), nodes)
        joining.start([*nodes, joining], "--initial-cluster-state=existing")
        until("it joins", lambda: ctl(joining, "get", "away")["kvs"], [*nodes, joining])
    finally:
        for node in [*nodes, joining]:
            node.stop()


def lead(ctl, nodes, wanted, member_id):
    """Asks whoever leads to let it lead; true once it does."""
    for node in nodes:
        status = ctl(node, "endpoint", "status")[0]["Status"]
        if status["leader"] != status["header"]["member_id"]:
            continue
        if node is wanted:
            return True
        ctl(node, "move-leader", f"{member_id:x}")
    return False


def main():
    options = arguments(__doc__, ["etcd", "etcdctl"])
    if INSIDE not in os.environ:
        into_namespace()
    place = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"keelson-names-{os.getpid()}"
    place.mkdir()
    try:
        hosts = Hosts(place)
        run_cases("names", [(check.__doc__.splitlines()[0], lambda directory, check=check: check(options, directory, hosts))
                            for check in (check_starts, check_signal, check_cluster)])
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
