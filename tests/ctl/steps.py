"""The commands that compare.py runs. Standard output of each is set beside etcdctl's, so a line is a test."""
import dataclasses
import re
import shlex

FORMATS = ["simple", "json", "fields", "protobuf", "table"]


@dataclasses.dataclass
class Step:
    arguments: list
    stdin: bytes = b""
    environment: dict = None
    is_help: bool = False   # words of our own: only the layout is compared
    endpoint: bool = True   # name the server on the command line
    # For a command that stays: bytes to its stdin, other commands, patterns to wait for in its output, "EOF", "END".
    meanwhile: list = None


def step(line, stdin="", **more):
    return Step(shlex.split(line), stdin.encode(), **more)


def in_formats(line, stdin="", **more):
    for name in FORMATS:
        yield step(f"{line} -w {name}", stdin, **more)
    yield step(f"{line} --hex", stdin, **more)
    yield step(f"{line} --hex -w fields", stdin, **more)
    yield step(f"{line} --hex -w json", stdin, **more)


def key_value():
    yield from in_formats("put a 1")
    yield from in_formats("put a 2 --prev-kv")
    yield step("put a --prev-kv", "from stdin\n")
    yield step("put a", "")
    yield step("put")
    yield step("put a b c")
    yield step("put -- -key -value")
    yield step("get -- -key")
    yield step("put 'with \"quotes\" and \\ and \t' 'ü € 𝄞 <&>'")
    yield step("put '' x")
    yield step("put a --ignore-value")
    yield step("put a x --ignore-value")
    yield step("put nothing --ignore-value")
    yield step("put a x --ignore-lease --lease=0")
    yield step("put a x --lease=12345")
    yield step("put a x --lease=zz")
    yield step("put a x --lease=8000000000000000")
    yield step("put binary", "\x00\x01\x7f\x80\xff\n")
    yield from in_formats("get binary")
    yield from in_formats("get 'with \"quotes\" and \\ and \t'")
    for i in range(5):
        yield step(f"put k{i} value{9 - i}")
    yield step("put k1 again")
    yield from in_formats("get k --prefix")
    yield from in_formats("get nothing")
    yield from in_formats("get k1 k3")
    yield from in_formats("get k --prefix --limit 2")
    yield from in_formats("get k --prefix --keys-only")
    yield from in_formats("get k --prefix --count-only")
    yield from in_formats("get k --prefix --print-value-only")
    yield from in_formats("get k --prefix --stream")
    yield step("get '' --prefix")
    yield step("get '' --from-key")
    yield step("get k3 --from-key")
    yield step("get")
    yield step("get k --prefix --from-key")
    yield step("get k --keys-only --count-only")
    yield step("get k a --prefix")
    yield step("get a b c")
    for order in ("", "ASCEND", "descend", "sideways"):
        for target in ("", "CREATE", "key", "MODIFY", "VALUE", "VERSION", "colour"):
            yield step(f"get k --prefix --order='{order}' --sort-by='{target}'")
    yield step("get k --prefix --order=DESCEND --stream")
    for consistency in ("s", "l", "x", ""):
        yield step(f"get a --consistency='{consistency}'")
    for revision in (-1, 0, 1, 5, 1000):
        yield step(f"get a --rev={revision}")
    yield step("get k --prefix --min-mod-rev=8 --max-mod-rev=20 -w json")
    yield step("get k --prefix --min-create-rev=8 --max-create-rev=20 -w json")
    yield step("get k --min-mod-rev=5 --max-mod-rev=3")
    yield step("get k --min-create-rev=5 --max-create-rev=3")
    yield from in_formats("del k0 --prev-kv")
    yield from in_formats("del nothing")
    yield step("del k1 k3 --range --prev-kv")
    yield step("del a b")
    yield step("del a b --prefix")
    yield step("del")
    yield step("del a b c")
    yield step("del k --prefix --from-key")
    yield step("del k --prefix --prev-kv -w json")
    yield step("del '' --prefix")
    yield step("compaction")
    yield step("compaction x")
    yield step("compaction 1000")
    yield step("compaction 5")
    yield step("compaction 5")
    yield step("compaction 6 --physical")
    yield step("get a --rev=4")


def transactions():
    yield step("put t 1")
    yield from in_formats("txn", 'mod("t") > "0"\n\nput t "2"\nget t\ndel nothing --prev-kv\n\nput t 3\n\n')
    yield from in_formats("txn", 'ver("t") = "0"\n\nput t "2"\n\nget t\ndel t --prev-kv\n\n')
    yield step("txn -i", '\nput t "a b"\n\n\n')
    yield step("txn", "")
    yield step("txn", "\n\n")
    yield step("txn x")
    yield step("txn", "\n\n\n")
    yield step("txn -w json", "\n\n\n")
    for compare in ('val("t") = "a b"', 'value("t") != "x"', 'c("t") < "5"', 'create("nothing") = "0"', 'm("t")  >  "1"',
                    'version("t") = "1"', 'val(`t`) = `raw\\n`', 'val("\\x74") = "a\\u0020b"', '  val("t") = "x"  rest '):
        yield step("txn -w json", compare + "\n\nget t\n\nget nothing\n\n")
    for wrong in ("nonsense", 'mod("t" > "0"', 'mod("t")> "0"', 'mod("t") >', 'mod("t") > 0', 'mod(t) > "0"', 'age("t") = "1"',
                  'mod("t") = "x"', 'mod("t)', 'mod("t")', 'mod("t") = "99999999999999999999"', 'mod("\\q") = "1"'):
        yield step("txn", wrong + "\n\n\n\n")
    for request in ("put t 'single quoted'", "put t two words", "get t --prefix -w json", "get", "delete t", "pu t 1", "g t",
                    "put t \"tab\\tq\\\"\"", "put t \"bad \\q\"", "get t --limit=x", "get --nope t", "put t it's", "del t --prefix",
                    "get t --print-value-only", "put --lease=zz t x", "compaction 3", "get '' --prefix --limit 1"):
        yield step("txn", f"\n{request}\n\n\n", is_help=True)
    yield step("get t")
    yield step("txn", "\nput t 1\nput t 2\n\n\n")


def leases():
    yield from in_formats("lease grant 100")
    yield step("lease grant 500")
    yield step("lease grant 500")
    yield step("put leased x --lease={lease0}")
    yield step("put leased2 x --lease={lease0}")
    for name in ("simple", "json", "fields"):  # protobuf shows the lease's id in bytes
        yield step(f"get leased -w {name}")
    yield from in_formats("lease keep-alive --once {lease0}")
    yield from in_formats("lease timetolive {lease1} --keys")
    yield from in_formats("lease timetolive 1234 --keys")
    yield from in_formats("lease timetolive 1234")
    yield from in_formats("lease list")
    yield step("lease revoke {lease1}")
    yield step("lease revoke {lease0} -w json")
    yield step("get leased --prefix")
    yield from in_formats("lease revoke 1234")
    yield step("lease keep-alive --once 1234")
    yield step("lease keep-alive 1234")
    yield step("lease keep-alive 1234 -w json")
    for wrong in ("grant", "grant x", "grant 1 2", "grant 99999999999", "grant -- -5", "revoke", "revoke xyz", "timetolive",
                  "timetolive xyz", "keep-alive", "keep-alive xyz", "keep-alive 1 2", "list x"):
        yield step("lease " + wrong)
    yield step("lease grant 3")
    for name in ("simple", "json", "fields"):
        yield step(f"lease keep-alive {{lease-1}} -w {name}",
                   meanwhile=[re.compile(rb"(?s)(keepalived|TTL).*(keepalived|TTL)")])
    yield step("lease keep-alive {lease-1} -w table", meanwhile=["END"])
    yield step("lease keep-alive {lease-1}", meanwhile=[re.compile(b"keepalived"), ["lease", "revoke", "{lease-1}"],
                                                        re.compile(b"expired"), "END"])


def watches():
    seen, all_seen = re.compile(b"last"), re.compile(b"(?s)(last.*){4}")  # what is waited for is the end of what comes
    for name in FORMATS[:-1]:
        yield step(f"watch w --prefix --prev-kv -w {name}",
                   meanwhile=[0.5, ["put", "w1", "a"], ["put", "w1", "b"], ["del", "w1"], ["put", "other", "x"],
                              ["put", "w2", "last"], re.compile(b"(?s)last|bGFzdA")])
    yield step("watch w1 -w table --rev=30", meanwhile=["END"])
    yield step("watch w1 --hex --rev=30", meanwhile=[0.5])
    yield step("watch w1 w3 --rev=30 -w fields --hex", meanwhile=[all_seen])
    yield step("watch w --prefix --rev=30 -- sh -c 'echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE'",
               meanwhile=[re.compile(b'(?s)("last".*){4}')])
    yield step("watch w2 --rev=30 -- sh -c 'exit 3'", meanwhile=["END"])
    yield step("watch w2 --rev=30 -- sh -c 'kill -9 $$'", meanwhile=["END"])
    yield step("watch w2 --rev=30 -- ./not-there", meanwhile=["END"])
    yield step("watch w2 --rev=30 -- not-there", meanwhile=["END"])
    yield step("watch", meanwhile=["END"])
    yield step("watch --", meanwhile=["END"])
    yield step("watch a --", meanwhile=["END"])
    yield step("watch a b --prefix", meanwhile=["END"])
    yield step("watch a", environment={"ETCDCTL_WATCH_KEY": "w2"}, meanwhile=["END"])
    yield step("watch a -- echo 1", environment={"ETCDCTL_WATCH_KEY": "w2"}, meanwhile=["END"])
    yield step("watch --rev=30", environment={"ETCDCTL_WATCH_KEY": "w2"}, meanwhile=[all_seen])
    yield step("watch --rev=30 -- echo hello", environment={"ETCDCTL_WATCH_KEY": "w2", "ETCDCTL_WATCH_RANGE_END": "w3"},
               meanwhile=[re.compile(b"(?s)(hello.*){4}")])
    yield step("watch", environment={"ETCDCTL_WATCH_RANGE_END": "w3"}, meanwhile=["END"])
    yield step("put c 1")
    yield step("compaction 29")
    for name in ("simple", "json", "fields", "protobuf"):
        yield step(f"watch c --rev=3 -w {name}", meanwhile=["END"])
    yield step("watch -i", meanwhile=[b"watch w2\n", "EOF", "END"])
    yield step("watch -i", meanwhile=[b"nonsense\n", b"\n", b"watch\n", b"watch w2 w3 --prefix\n", b"watch x --rev=zz\n", "END"])
    yield step("watch -i", meanwhile=[b"watch w2\n", 0.5, ["put", "w2", "last"], seen, b"progress\n",
                                      re.compile(b"progress notify: \\d+\n")])
    yield step("watch -i", meanwhile=[b"watch w2 --\n", "END"])
    yield step("watch -i", meanwhile=[b"watch w2 -- echo hello there\n", 0.5, ["put", "w2", "last"], re.compile(b"hello there")])
    yield step("watch -i", meanwhile=[b'watch "\\q"\n', "END"])


def members_and_endpoints():
    yield from in_formats("member list")
    yield step("member list --consistency=s")
    yield step("member list x")
    yield from in_formats("endpoint health")
    yield from in_formats("endpoint status")
    yield from in_formats("endpoint hashkv")
    yield step("endpoint hashkv --rev=25 -w json")
    yield step("endpoint hashkv --rev=100000")
    yield step("endpoint hashkv --rev=-1")
    yield from in_formats("alarm list")
    yield from in_formats("alarm disarm")
    yield step("alarm list x")
    yield step("alarm disarm x")
    yield step("defrag")
    yield step("defrag -w nonsense")
    nobody = "--endpoints=127.0.0.1:1 --command-timeout=300ms --dial-timeout=200ms"
    for line in ("get a", "put a b", "del a", "compaction 3", "member list", "endpoint health", "endpoint status", "endpoint hashkv",
                 "endpoint health --cluster", "defrag", "alarm list", "lease grant 5", "lease revoke 5", "get a --stream",
                 "endpoint health -w json", "endpoint status -w json", "endpoint status -w table", "endpoint hashkv -w fields"):
        yield step(f"{line} {nobody}", endpoint=False)
    yield step("get a --endpoints=''", endpoint=False)
    yield step("get a --endpoints=' 127.0.0.1:{port} , 127.0.0.1:1'", endpoint=False)
    yield step("get a --endpoints=http://127.0.0.1:{port}", endpoint=False)
    yield step("endpoint health --endpoints=http://127.0.0.1:{port} -w fields", endpoint=False)


def member_changes():
    yield step("member add new --learner --peer-urls=http://127.0.0.1:1,http://127.0.0.1:2")
    yield step("member list")
    for name in ("json", "fields", "table"):
        yield step(f"member list -w {name}")
    yield step("member promote {member0}")
    yield step("member update {member0} --peer-urls=http://127.0.0.1:3")
    yield step("member update {member0} --peer-urls=http://127.0.0.1:4 -w json")
    yield step("member update {member0} --peer-urls=http://127.0.0.1:5 -w json --hex")
    yield step("member update {member0} --peer-urls=nonsense")
    yield step("member remove {member0}")
    yield step("member add new --learner --peer-urls=http://127.0.0.1:1 -w json")
    yield step("member remove {member1} -w json --hex")
    yield step("member add new --learner --peer-urls=http://127.0.0.1:1 -w json --hex")
    yield step("member remove {member2} -w json")
    yield step("member remove 1234")
    yield step("member promote 1234")
    yield step("member remove 1234 -w fields")
    for wrong in ("add", "add a b", "add a http://x HTTP://y", "add a", "add a --peer-urls=", "remove", "remove xyz", "remove 1 2",
                  "update", "update xyz", "update 1", "promote", "promote -- -1"):
        yield step("member " + wrong)
    yield step("snapshot save")
    yield step("snapshot save a b")
    yield step("snapshot save a --endpoints 127.0.0.1:1,127.0.0.1:2", endpoint=False)
    yield step("move-leader")
    yield step("move-leader xyz")
    yield step("move-leader 1234")
    yield step("move-leader 1234 -w fields")
    for line in ("validate", "validate 3.6 x", "validate ''", "validate 3.6", "validate 3.6 -w json", "validate 3.6 -w fields",
                 "validate nonsense", "validate 3.2", "enable", "enable 3.9", "cancel", "cancel -w json"):
        yield step("downgrade " + line)


def authentication():
    yield from in_formats("auth status")
    yield step("auth status x")
    yield step("auth enable")
    yield step("auth enable x")
    yield step("auth disable")
    yield step("user add root:secret")
    yield step("user add alice --interactive=false", "wonder land\n")
    yield step("user add bob --new-user-password=b:c")
    yield step("user add carol:x:y -w json")
    yield step("user add dave --no-password -w fields")
    yield step("user add :x")
    yield step("user add bob:again")
    yield step("user add")
    yield from in_formats("user list")
    yield step("user list x")
    yield from in_formats("user get alice")
    yield step("user get nobody")
    yield from in_formats("user passwd alice --interactive=false", "other\n")
    yield step("user passwd nobody --interactive=false", "other")
    for i, name in enumerate(FORMATS + ["simple --hex"]):
        yield step(f"role add r{i} -w {name}")
    yield step("role add r0")
    yield from in_formats("role list")
    yield step("role grant-permission r0 read a")
    yield step("role grant-permission r0 WRITE b c")
    yield step("role grant-permission r0 readwrite p --prefix")
    yield step("role grant-permission r0 readwrite q --from-key -w json")
    yield step("role grant-permission r0 readwrite '' --prefix -w fields")
    yield step("role grant-permission r1 read '' ")
    for wrong in ("r0", "r0 read", "r0 fly a", "r0 read a b --prefix", "r0 read a b --from-key", "r0 read a --prefix --from-key",
                  "r0 read '' --prefix --from-key", "nobody read a"):
        yield step("role grant-permission " + wrong)
    yield from in_formats("role get r0")
    yield step("role get r1")
    yield step("role get nobody")
    yield step("role revoke-permission r0 a")
    yield step("role revoke-permission r0 b c")
    yield step("role revoke-permission r0 p --prefix")
    yield step("role revoke-permission r0 q --from-key -w json")
    yield step("role revoke-permission r0 nothing")
    yield step("role revoke-permission r0")
    yield step("user grant-role alice r0")
    yield step("user grant-role alice r1 -w json")
    yield step("user grant-role alice nobody")
    yield step("user grant-role alice")
    yield from in_formats("user get alice")
    yield from in_formats("user get alice --detail")
    yield step("user revoke-role alice r1")
    yield step("user revoke-role alice r1 -w json")
    yield step("user revoke-role alice")
    yield step("role delete r5")
    yield step("role delete nobody")
    yield step("role delete")
    yield step("user delete carol")
    yield step("user delete nobody")
    yield step("user delete")
    yield step("auth enable")
    yield step("role get root --user=root:secret")
    yield step("auth status --user=root:secret")
    yield step("get a")
    yield step("get a --user=root:secret")
    yield step("get a --user=root --password=secret")
    yield step("get a --user=root:wrong")
    yield step("get a --user=alice:other")
    yield step("put a x --user=bob:b:c")
    yield step("endpoint health --user=bob:b:c")
    yield step("endpoint health")
    yield step("get a --auth-jwt-token=nonsense")
    yield step("get a", environment={"ETCDCTL_USER": "root:secret"})
    yield step("auth disable")
    yield step("auth disable --user=root:secret")
    yield step("get a --user=root:secret")


def command_lines():
    for line in ("", "help", "options", "help get", "get -h", "get --help", "put -h", "help help", "lease", "lease -h", "lease foo",
                 "endpoint", "endpoint hashkv -h", "endpoint health -h", "help endpoint status", "member list -h", "alarm", "help nope", "auth", "user -h", "user add -h", "user get -h", "role", "role grant-permission -h",
                 "member", "member add -h", "member update -h", "move-leader -h", "downgrade", "downgrade enable -h", "user passwd -h",
                 "watch -h", "txn -h", "get -hw json", "lease grant -h", "compaction --help", "del -h", "defrag -h", "version -h",
                 "get --nope", "get -z", "get --limit", "get --limit x a", "get a --limit=99999999999999999999", "get -w", "get --prefix=zz a",
                 "lease grant -5", "get -prefix a", "get --=x", "get ---x", "put --lease", "get --rev=0b101x a", "--nope get a",
                 "endpoint health --nope", "lease timetolive --nope", "get --command-timeout=5 a", "get --command-timeout=5x a",
                 "get --command-timeout=x a", "get --command-timeout= a"):
        yield step(line, is_help=True, endpoint=False)
    for line in ("foo", "l", "e", "gett", "putt a b", "x get", "LEASE", "membr", "-w json foo"):
        yield step(line, endpoint=False)
    yield step("version", endpoint=False)
    yield step("version x y", endpoint=False)
    yield step("version -w nonsense", endpoint=False)
    yield step("ge a")
    yield step("le gr 100")
    yield step("member lis")
    yield step("-w json get a")
    yield step("get -wjson a")
    yield step("get -w=json a")
    yield step("get a -w nonsense")
    yield step("get a -w json -w fields")
    yield step("get --limit=0x10 --rev=0 k --prefix=true")
    yield step("get --limit=1_000 k --prefix=T")
    yield step("get --cert= a")
    yield step("get --key '' a")
    yield step("get --cacert= a")
    yield step("get a", endpoint=False, environment={"ETCDCTL_ENDPOINTS": "127.0.0.1:{port}"})
    yield step("get a", environment={"ETCDCTL_ENDPOINTS": "127.0.0.1:{port}"})
    yield step("get a", environment={"ETCDCTL_WRITE_OUT": "json", "ETCDCTL_HEX": "true"})
    yield step("get a", environment={"ETCDCTL_WRITE_OUT": "nonsense"})
    yield step("get a", environment={"ETCDCTL_API": "3"})
    yield step("get a", environment={"ETCDCTL_WATCH_KEY": "x"})
    yield step("version", environment={"ETCDCTL_API": "3"}, endpoint=False)
    yield step("get", environment={"ETCDCTL_API": "3"})
    yield step("get a --debug")
    yield step("put large x --max-request-bytes=4")
    yield step("get a --max-recv-bytes=4")


def all_steps():
    yield from command_lines()
    yield from key_value()
    yield from transactions()
    yield from watches()
    yield from members_and_endpoints()
    yield from member_changes()
    yield from authentication()
    yield from leases()  # after the hashes: the ids of leases go into them
