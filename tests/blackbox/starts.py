#!/usr/bin/env python3
"""What the server says and with which code it ends when it is started in ways it refuses, row by row.

The rows without a mark hold for etcd 3.7.1 too:

    tests/blackbox/starts.py                              keelson ($KEELSON_BIN)
    tests/blackbox/starts.py --oracle tests/peers/bin/etcd   the same table, asked of etcd
"""

import os
import socket
import sys
import tempfile
import unittest
from dataclasses import dataclass, field
from pathlib import Path

import harness

FLAGS = "failed to verify flags"
START = "discovery failed"
USAGE = "Usage:"

ORACLE = None
if "--oracle" in sys.argv:
    at = sys.argv.index("--oracle")
    ORACLE = os.path.abspath(sys.argv[at + 1])
    del sys.argv[at:at + 2]


@dataclass
class Row:
    args: list
    code: int
    says: list                                   # parts of what it prints, in any order
    env: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)    # written before, by name
    ours: bool = False                           # etcd does otherwise
    out: str = ""                                # part of its standard output


def row(args, code, *says, **more):
    return Row(args.split() if isinstance(args, str) else args, code, list(says), **more)


ROWS = [
    # Usage: exit 2, the complaint and the usage on stderr.
    row("--nope", 2, "flag provided but not defined: -nope", USAGE),
    row("-nope=1", 2, "flag provided but not defined: -nope"),
    row("--version --nope", 2, "flag provided but not defined: -nope"),
    row("--name", 2, "flag needs an argument: -name", USAGE),
    row("---name", 2, "bad flag syntax: ---name"),
    row("-=x", 2, "bad flag syntax: -=x"),
    row("--snapshot-count=x", 2, 'invalid value "x" for flag -snapshot-count: parse error'),
    row("--snapshot-count=-1", 2, 'invalid value "-1" for flag -snapshot-count: parse error'),
    row("--max-wals=99999999999999999999", 2,
        'invalid value "99999999999999999999" for flag -max-wals: value out of range'),
    row("--pre-vote=maybe", 2, 'invalid boolean value "maybe" for -pre-vote: parse error'),
    row("--grpc-keepalive-min-time=5", 2, 'invalid value "5" for flag -grpc-keepalive-min-time: parse error'),
    row("--quota-backend-bytes=1e3", 2, 'invalid value "1e3" for flag -quota-backend-bytes: parse error'),
    row("--max-concurrent-streams=4294967296", 2, 'for flag -max-concurrent-streams: strconv.ParseUint: parsing '
        '"4294967296": value out of range'),
    row("--listen-client-urls=ftp://1.2.3.4:1", 2, "URL scheme must be http, https, unix, or unixs: ftp://1.2.3.4:1"),
    row("--listen-client-urls=http://1.2.3.4", 2, 'URL address does not have the form "host:port": http://1.2.3.4'),
    row("--listen-client-urls=http://1.2.3.4:2/x", 2, "URL must not contain a path: http://1.2.3.4:2/x"),
    row("--listen-client-urls=,", 2, 'invalid value "," for flag -listen-client-urls: URL scheme must be'),
    row("--initial-cluster-state=old", 2, 'invalid value "old" for flag -initial-cluster-state: invalid value'),
    row("--discovery-fallback=x", 2, 'invalid value "x" for flag -discovery-fallback: invalid value'),
    row("--v2-deprecation=not-yet", 2, 'invalid value "not-yet" for flag -v2-deprecation: invalid value "not-yet"'),
    row("--v2-deprecation=", 2, 'invalid value "" for flag -v2-deprecation: invalid value ""'),
    row("--cors=foo", 2, 'invalid value "foo" for flag -cors: URL scheme must be http, https, unix, or unixs: foo'),
    row("--cors=", 2, 'invalid value "" for flag -cors: URL scheme must be'),
    row("--feature-gates=X=true", 2, 'invalid value "X=true" for flag -feature-gates: unrecognized feature gate: X'),
    row("--feature-gates=LeaseCheckpoint", 2, "missing bool value for LeaseCheckpoint"),
    row("--feature-gates=LeaseCheckpoint=x", 2, "invalid value of LeaseCheckpoint=x, err: strconv.ParseBool: parsing"),
    row("--log-level=x", 2, 'panic: unrecognized level: "x"'),
    # Help and version.
    row("--help", 0, USAGE, out="--listen-client-urls 'http://localhost:2379'"),
    row("-h=false", 0, USAGE, out="--name 'default'"),
    row("--version", 0, out="etcd Version: 3.7.1\nGit SHA: "),
    row("--snapshot-count=0x10 --version", 0, out="etcd Version: 3.7.1"),
    row("--config-file=/nonexistent --version", 0, out="etcd Version: 3.7.1"),
    # A configuration that is refused: exit 1, in the log.
    row("foo", 1, FLAGS, '\\"foo\\" is not a valid flag', '"Running: "'),
    row("--version foo", 1, FLAGS, '\\"foo\\" is not a valid flag'),
    row("--listen-client-urls=http://example.com:1 --advertise-client-urls=http://a:1", 1, FLAGS,
        "expected IP in URL for binding (http://example.com:1)"),
    row("--listen-client-urls=http://127.0.0.1:1", 1, FLAGS, "advertise client URLs are not set",
        "--advertise-client-urls is required when --listen-client-urls is set explicitly"),
    row("--initial-advertise-peer-urls=http://:1", 1, FLAGS,
        'must be \\"host:port\\" (unexpected empty host (http://:1))'),
    row("--advertise-client-urls=http://:1", 1, FLAGS, "(unexpected empty host (http://:1))"),
    row("--heartbeat-interval=0", 1, FLAGS, "--heartbeat-interval must be >0 (set to 0ms)"),
    row("--election-timeout=0", 1, FLAGS, "--election-timeout must be >0 (set to 0ms)"),
    row("--election-timeout=100", 1, FLAGS,
        "--election-timeout[100ms] should be at least as 5 times as --heartbeat-interval[100ms]"),
    row("--election-timeout=50001", 1, FLAGS, "is too long, and should be set less than 50000ms"),
    row("--auto-compaction-mode=x", 1, FLAGS, 'unknown auto-compaction-mode \\"x\\"'),
    row("--auto-compaction-mode=", 1, FLAGS, "undefined auto-compaction-mode"),
    row("--compact-hash-check-time=0s", 1, FLAGS, "--compact-hash-check-time must be >0 (set to 0s)"),
    row("--logger=capnslog", 1, FLAGS, "--logger=capnslog is removed in v3.5"),
    row("--logger=x", 1, FLAGS, 'unknown logger option \\"x\\"'),
    row("--log-format=x", 1, FLAGS, "unknown log format: x, supported values json, console"),
    row("--log-outputs=default,stderr", 1, FLAGS, 'multi logoutput for \\"default\\" is not supported yet'),
    row("--log-outputs=systemd/journal,stderr", 1, FLAGS, "running with systemd/journal but other '--log-outputs'"),
    row("--log-outputs=/nonexistent/a.log", 1, FLAGS,
        'open sink \\"/nonexistent/a.log\\": open /nonexistent/a.log: no such file or directory'),
    row("--discovery-fallback=proxy", 1, FLAGS, "v2 proxy is deprecated"),
    row("--tls-min-version=x", 1, FLAGS, 'unexpected TLS version \\"x\\" (must be one of: TLS1.2, TLS1.3)'),
    row("--tls-min-version=TLS1.3 --tls-max-version=TLS1.2", 1, FLAGS,
        "min version (TLS1.3) is greater than max version (TLS1.2)"),
    row("--feature-gates=LeaseCheckpointPersist=true", 1, FLAGS, "requires enabling feature gate LeaseCheckpoint"),
    row("--force=x --heartbeat-interval=0", 1, "--heartbeat-interval must be >0"),  # --force: ignored
    # The environment.
    row("--name=b", 1, "conflicting environment variable is shadowed by corresponding command-line flag",
        '"environment-variable":"ETCD_NAME"', env={"ETCD_NAME": "a"}),
    row("", 1, FLAGS, 'invalid value \\"x\\" for ETCD_SNAPSHOT_COUNT: parse error', env={"ETCD_SNAPSHOT_COUNT": "x"}),
    row("", 1, "recognized and used environment variable", '"variable-name":"ETCD_HEARTBEAT_INTERVAL"',
        '"environment-variable":"ETCD_FOO=1"', "cannot set special environment variable",
        "--heartbeat-interval must be >0",
        env={"ETCD_HEARTBEAT_INTERVAL": "0", "ETCD_FOO": "1", "ETCD_VERSION": "1"}),
    row("", 1, FLAGS, "open /nonexistent: no such file or directory", env={"ETCD_CONFIG_FILE": "/nonexistent"}),
    # The file.
    row("--config-file=/nonexistent", 1, FLAGS, "open /nonexistent: no such file or directory"),
    row("--config-file=c", 1, "cannot unmarshal number into Go struct field configYAML.Config.name of type string",
        files={"c": "name: 5"}),
    row("--config-file=c", 1, "cannot unmarshal string into Go struct field configYAML.Config.corrupt-check-time of type "
        "time.Duration", files={"c": "corrupt-check-time: 1m"}),
    row("--config-file=c", 1, "error converting YAML to JSON: yaml: line 2: ", files={"c": "name: a\n  data-dir: b"}),
    row("--config-file=c", 1, "unexpected error setting up listen-peer-urls: URL scheme must be",
        files={"c": "listen-peer-urls: foo"}),
    row("--config-file=c", 1, "unexpected error setting up advertise-peer-urls: URL scheme must be",
        files={"c": "advertise-client-urls: foo"}),
    row("--config-file=c", 1, FLAGS, 'unexpected clusterState \\"foo\\"', files={"c": "initial-cluster-state: foo"}),
    row("--config-file=c", 1, FLAGS, "unrecognized feature gate: X", files={"c": "feature-gates: X=true"}),
    row("--config-file=c --name=x", 1, "--heartbeat-interval must be >0", env={"ETCD_NAME": "y"},
        files={"c": "heartbeat-interval: 0"}),  # neither flags nor environment count
    # A start that fails.
    row("", 1, START, "'data-dir' was empty; using default",
        'couldn\'t find local name \\"default\\" in the initial cluster configuration',
        env={"ETCD_INITIAL_CLUSTER": "x=http://127.0.0.1:2380"}),
    row("--initial-cluster=default", 1, START, "error setting up initial cluster: URL scheme must be"),
    row("--auto-compaction-retention=x", 1, START, 'error parsing CompactionRetention: time: invalid duration \\"x\\"'),
    row("--auto-compaction-retention=-1", 1, START,
        'error parsing CompactionRetention: time: missing unit in duration \\"-1\\"'),
    row("--initial-cluster=", 1, START, "couldn't find local name"),
    row("--listen-client-urls=https://127.0.0.1:1 --advertise-client-urls=https://127.0.0.1:1", 1, START,
        "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme"),
    row("--listen-metrics-urls=https://127.0.0.1:1", 1, START,
        "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"),
    row("--listen-client-urls=http://BUSY --advertise-client-urls=http://a:1", 1, START,
        "listen tcp BUSY: bind: address already in use"),
    row("--listen-peer-urls=http://BUSY", 1, START, "creating peer listener failed",
        "listen tcp BUSY: bind: address already in use"),
    row("--listen-metrics-urls=http://BUSY", 1, START, "listen tcp BUSY: bind: address already in use"),
    row("--listen-client-urls=unix:///nonexistent/a --advertise-client-urls=http://a:1", 1, START,
        "listen unix /nonexistent/a: bind: no such file or directory"),
    row("--data-dir=c", 1, "failed to list data directory", '"dir":"c"', "ot a directory", files={"c": ""}),
    row("--data-dir=/proc/x", 1, START, "cannot access data directory: "),
    # The members of the cluster to be.
    row("--initial-cluster=default=http://127.0.0.1:9,b=http://127.0.0.1:9 "
        "--initial-advertise-peer-urls=http://127.0.0.1:9", 1, START, "bootstrap failed",
        "initial cluster b=http://127.0.0.1:9,default=http://127.0.0.1:9 has duplicate url"),
    row("--initial-cluster=default=http://127.0.0.1:9 --initial-advertise-peer-urls=http://127.0.0.1:10", 1, START,
        "bootstrap failed", "--initial-cluster has default=http://127.0.0.1:9 but missing from "
        "--initial-advertise-peer-urls=http://127.0.0.1:10 "
        '(resolved urls: \\"http://127.0.0.1:10\\" != \\"http://127.0.0.1:9\\")'),
    row("--initial-cluster=default=http://127.0.0.1:9,default=http://127.0.0.1:91 "
        "--initial-advertise-peer-urls=http://127.0.0.1:9", 1, START,
        "--initial-cluster has default=http://127.0.0.1:91 but missing from "
        '--initial-advertise-peer-urls=http://127.0.0.1:9 (len([\\"http://127.0.0.1:9\\"]) != '
        'len([\\"http://127.0.0.1:9\\" \\"http://127.0.0.1:91\\"]))'),
    row("--initial-cluster=default=http://127.0.0.1:9 "
        "--initial-advertise-peer-urls=http://127.0.0.1:9,http://127.0.0.1:91", 1, START,
        "--initial-advertise-peer-urls has http://127.0.0.1:91 but missing from "
        "--initial-cluster=default=http://127.0.0.1:9,default=http://127.0.0.1:91"),
    row("--name=a --initial-cluster=b=http://127.0.0.1:9 --initial-cluster-state=existing", 1, START,
        'couldn\'t find local name \\"a\\" in the initial cluster configuration'),
    row("--initial-cluster=default=http://127.0.0.1:9,b=http://127.0.0.1:9 --initial-cluster-state=existing", 1, START,
        "initial cluster b=http://127.0.0.1:9,default=http://127.0.0.1:9 has duplicate url"),
    row("--initial-cluster-state=existing", 1, START,
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"),
    # Ours alone: what is not there yet is never taken in silence.
    row("--cert-file=/a", 1, FLAGS, "cert-file=/a is not supported yet", ours=True),
    row("--auto-tls", 1, FLAGS, "auto-tls=true is not supported yet", ours=True),
    row("--feature-gates=PriorityRequest=true", 1, FLAGS, "feature-gates=PriorityRequest=true is not supported yet",
        ours=True),
    row("gateway", 1, "gateway is not supported yet", ours=True),
    row("grpc-proxy start", 1, "grpc-proxy is not supported yet", ours=True),
    row("--memory-mlock --heartbeat-interval=0", 1, "--heartbeat-interval must be >0"),
]


class Starts(harness.ServerTest):
    def run_row(self, one, binary, busy, ports):
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            for name, text in one.files.items():
                (Path(directory) / name).write_text(text)
            env = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
            args = [arg.replace("BUSY", busy) for arg in one.args]
            # The default ports may belong to somebody.
            given = " ".join(args)
            if one.code == 1 and "--config-file" not in given and "ETCD_CONFIG_FILE" not in one.env and args != ["foo"] \
                    and args[:1] not in (["gateway"], ["grpc-proxy"]) and "foo" not in args:
                if "--listen-peer-urls" not in given:
                    args.append(f"--listen-peer-urls=http://127.0.0.1:{ports[0]}")
                if "client-urls" not in given:
                    args += [f"--listen-client-urls=http://127.0.0.1:{ports[1]}", "--advertise-client-urls=http://a:1"]
            result = harness.run([binary, *args], cwd=directory, env={**env, **one.env})
        out, err = result.stdout.decode(), result.stderr.decode()
        self.assertEqual(result.returncode, one.code, err)
        for part in one.says:
            self.assertIn(part.replace("BUSY", busy), err)
        self.assertIn(one.out, out)

    def test_refusals(self):
        holder = socket.socket()
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        self.addCleanup(holder.close)
        busy = f"127.0.0.1:{holder.getsockname()[1]}"
        ports = (harness.free_port(), harness.free_port())
        for one in ROWS:
            if ORACLE and one.ours:
                continue
            with self.subTest(args=one.args, env=one.env, files=one.files):
                self.run_row(one, ORACLE or harness.BIN, busy, ports)


    def test_refusals_by_a_running_cluster(self):
        """A cluster of two runs, then one of it; another server is started beside it, with what does not fit."""
        binary = ORACLE or harness.BIN
        a, b, c = (f"http://127.0.0.1:{harness.free_port()}" for _ in range(3))

        def spawn(name, url, cluster, *more):
            one = self.server(binary=binary)
            return one.spawn(f"--name={name}", f"--listen-peer-urls={url}", f"--initial-advertise-peer-urls={url}",
                             f"--initial-cluster={cluster}", *more)
        two = [spawn("a", a, f"a={a},b={b}"), spawn("b", b, f"a={a},b={b}")]
        for one in two:
            self.assertTrue(one.await_line("ready to serve client requests"), one.log())
        two[1].kill()
        existing = "--initial-cluster-state=existing"
        for what, args, says in [
            ("a member that has lost its data", ("b", b, f"a={a},b={b}"), ("member ", " has already been bootstrapped")),
            ("not added before", ("c", c, f"a={a},b={b},c={c}", existing),
             ("error validating peerURLs ", "member count is unequal")),
            ("in the place of another", ("c", c, f"a={a},c={c}", existing),
             ("error validating peerURLs ", "PeerURLs: no match found for existing member (")),
            ("nobody to ask", ("c", c, f"c={c}", existing),
             ("could not retrieve cluster information from the given URLs",)),
        ]:
            with self.subTest(what=what):
                second = spawn(*args)
                self.assertEqual(second.wait(), 1)
                log = second.log()
                for part in (START, "bootstrap failed", *says):
                    self.assertIn(part, log)


if __name__ == "__main__":
    harness.main()
