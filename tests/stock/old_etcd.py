#!/usr/bin/env python3
"""Members of etcd 3.6 and 3.5 beside ours.

    old_etcd.py --server keelson --peers DIR       DIR has what tests/peers/build and tests/peers/old/build make

With 3.6 they make one cluster, whose version is 3.6 until the last of them has gone. 3.5 writes what members of 3.7 cannot
read; etcd's own end by a panic then. Ours refuses to join such a cluster, and where it founded one with them, ends and
says why. Exit 77: skipped, a program is not there.
"""
import json
import subprocess
import sys
import urllib.request

sys.dont_write_bytecode = True
from nodes import Ctl, Node, arguments, run_cases, until  # noqa: E402
from patience import ended  # noqa: E402


def versions(node):
    try:
        with urllib.request.urlopen(f"http://{node.endpoint}/version", timeout=5) as answer:
            return json.load(answer)
    except OSError as error:
        raise RuntimeError(str(error)) from error


def all_run_at(nodes, version):
    return all(versions(node)["etcdcluster"] == version for node in nodes)


def check_mixed(options, _):
    """3.6, under load"""
    subprocess.run([options.peers / "mixed", "-subject", options.server, "-oracle", options.peers / "etcd-3.6"], check=True)


def check_walk(options, directory):
    """from 3.6 to ours, one member at a time"""
    ctl = Ctl(options.peers / "etcdctl")
    nodes = [Node(f"old{i}", options.peers / "etcd-3.6", directory) for i in range(3)]
    every = list(nodes)
    puts = 0
    try:
        for node in nodes:
            node.start(nodes)
        until("they are of 3.6", lambda: all_run_at(nodes, "3.6.0"), nodes)
        for i in range(3):
            new = Node(f"new{i}", options.server, directory)
            every.append(new)
            url = f"--peer-urls={new.peer_url}"
            until("it is added", lambda: ctl(nodes[-1], "member", "add", new.name, "--learner", url), nodes)
            new.start([*nodes, new], "--initial-cluster-state=existing")
            ids = {one["peerURLs"][0]: f"{one['ID']:x}" for one in ctl(nodes[-1], "member", "list")["members"]}
            until("it is promoted", lambda: ctl(nodes[-1], "member", "promote", ids[new.peer_url]), [*nodes, new])
            nodes.append(new)
            until("it knows", lambda: all_run_at(nodes, "3.6.0"), nodes)
            for node in nodes:
                until("it takes writes", lambda: ctl(node, "put", f"k{puts}", "v"), nodes)
                puts += 1
            gone = nodes.pop(0)
            until("the old one goes", lambda: ctl(nodes[-1], "member", "remove", ids[gone.peer_url]), nodes)
            gone.stop()
        until("they are of 3.7", lambda: all_run_at(nodes, "3.7.0"), nodes)
        for node in nodes:
            until("all is there", lambda: ctl(node, "get", "k", "--prefix")["count"] == puts, nodes)
        if len({ctl.hash(node, 0)[0] for node in nodes}) != 1:
            raise AssertionError("they differ")
    finally:
        for node in every:
            node.stop()


def refused(node, text):
    if ended(node.process) == 0 or text not in node.log():
        raise AssertionError(f"{node.name} ended with {node.process.returncode}, and without: {text}\n{node.log()[-3000:]}")


def check_35(options, directory):
    """3.5 is refused"""
    ctl = Ctl(options.peers / "etcdctl")
    old = Node("old", options.peers / "etcd-3.5", directory)
    joining = Node("joining", options.server, directory)
    founder, others = Node("founder", options.server, directory), [
        Node(f"f{i}", options.peers / "etcd-3.5", directory) for i in range(2)]
    try:
        old.start([old])
        until("it is of 3.5", lambda: all_run_at([old], "3.5.0"), [old])
        ctl(old, "put", "a", "b")
        ctl(old, "member", "add", "joining", "--learner", f"--peer-urls={joining.peer_url}")
        joining.start([old, joining], "--initial-cluster-state=existing")
        refused(joining, "the running cluster is of version 3.5.0")
        for node in [founder, *others]:
            node.start([founder, *others])
        refused(founder, "was written by a member of etcd 3.5 or older")
        until("the others go on", lambda: ctl(others[0], "put", "a", "b"), others)
    finally:
        for node in [old, joining, founder, *others]:
            node.stop()


def main():
    options = arguments(__doc__, ["etcd-3.6", "etcd-3.5", "etcdctl", "mixed"])
    run_cases("old_etcd", [(check.__doc__, lambda directory, check=check: check(options, directory))
                           for check in (check_35, check_walk, check_mixed)])


if __name__ == "__main__":
    main()
