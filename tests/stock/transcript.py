#!/usr/bin/env python3
"""Holds a stock etcdctl, talking to a server, to a transcript that was written against etcd.

    transcript.py FILE --client ETCDCTL --server BINARY [--rewrite]

Exit 1: another answer; 77: the client is not there.

A transcript is commands and what they print, stdout and stderr as they come without the client's own log, then `exit N` if N is not 0:

    # A comment.
    $ put greeting hello
    OK
    $ txn
    < value("greeting") = "hello"
    <
    < del greeting
    <
    <
    SUCCESS
    ...
    $ until 3 lines: watch greeting --rev=2
    PUT
    ...

`< ` lines are the command's input. `until N lines:` ends a command that would run on, once it has printed so much.
A lease id that a command prints is remembered as {lease}, the next as {lease2}, and so on; it may be used in commands.
What can differ from run to run stands in VOLATILE. --rewrite writes down what the server at hand makes of it: review
the diff, and let etcd be that server.
"""

import argparse
import os
import pathlib
import re
import shlex
import subprocess
import sys
import threading

from member import Member

VOLATILE = [
    (r"took( =)? [0-9.]+[a-zµ]+", r"took\1 TIME"),
    (r"127\.0\.0\.1:(?!12379|12380)\d+", "SERVER"),
    (r"\d+(\.\d+)? [kM]?B(, \d+(\.\d+)? [kM]?B)?(, \d+%)?", "SIZE"),
    (r'("DBSize(InUse)?" : |"dbSize(InUse)?":)\d+', r"\1SIZE"),
    (r"throne/[0-9a-f]+", "throne/LEASE"),
    (r"remaining\(\d+s\)", "remaining(TIME)"),
    (r'("TTL" : |"ttl":)\d+', r"\1TIME"),
]
CLIENT_LOG = ('{"level":', "Warning: ")
LEASE = re.compile(r"(?<=lease )[0-9a-f]{16}\b")
COMMAND_SECONDS = 30


class Step:
    def __init__(self, number):
        self.number = number
        self.before = []  # comments and blank lines
        self.command = ""
        self.input = []
        self.output = []


def parse(text):
    steps, before = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("$ "):
            steps.append(Step(number))
            steps[-1].before, before = before, []
            steps[-1].command = line[2:]
        elif line.startswith("#") or (not line and (before or not steps)):
            before.append(line)
        elif line.startswith("<") and steps and not steps[-1].output:
            steps[-1].input.append(line[2:])
        else:
            steps[-1].output.append(line)
    return steps, before


class Runner:
    def __init__(self, client, endpoint):
        self.client = client
        self.endpoint = endpoint
        version = subprocess.run([client, "version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.needs_api = "etcdctl version: 3.7" not in version.stdout
        self.leases = []  # hexadecimal, in the order seen

    def run(self, step):
        command, lines = step.command, None
        if until := re.match(r"until (\d+) lines: (.*)", command):
            lines, command = int(until[1]), until[2]
        for place, lease in enumerate(self.leases):
            command = command.replace(self.name(place), lease)
        environment = {**os.environ, "ETCDCTL_ENDPOINTS": self.endpoint}
        environment.pop("ETCDCTL_API", None)
        if self.needs_api:  # 3.4 speaks version 2 by itself
            environment["ETCDCTL_API"] = "3"
        process = subprocess.Popen([self.client, *shlex.split(command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, env=environment, errors="backslashreplace")
        alarm = threading.Timer(COMMAND_SECONDS, process.kill)
        alarm.start()
        try:
            if lines is None:
                text, _ = process.communicate("".join(line + "\n" for line in step.input))
                output = [line for line in text.splitlines() if not line.startswith(CLIENT_LOG)]
                if process.returncode:
                    output.append(f"exit {process.returncode}")
            else:
                output = [line.rstrip("\n") for _, line in zip(range(lines), process.stdout)]
                process.kill()
                process.communicate()
        finally:
            alarm.cancel()
        return [self.steady(line) for line in output]

    @staticmethod
    def name(place):
        return "{lease}" if place == 0 else f"{{lease{place + 1}}}"

    def steady(self, line):
        for lease in LEASE.findall(line):
            if lease not in self.leases:
                self.leases.append(lease)
        for place, lease in enumerate(self.leases):
            line = line.replace(lease, self.name(place)).replace(str(int(lease, 16)), self.name(place))
        for pattern, stand_in in VOLATILE:
            line = re.sub(pattern, stand_in, line)
        return line.rstrip()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("transcript", type=pathlib.Path)
    arguments.add_argument("--client", required=True)
    arguments.add_argument("--server", required=True)
    arguments.add_argument("--rewrite", action="store_true")
    arguments = arguments.parse_args()
    if not os.access(arguments.client, os.X_OK):
        print(f"skipped: {arguments.client} is not there")
        return 77
    steps, rest = parse(arguments.transcript.read_text())
    wrong, written = 0, []
    with Member(arguments.server) as member:
        runner = Runner(arguments.client, member.endpoint)
        for step in steps:
            output = runner.run(step)
            written += [*step.before, "$ " + step.command, *(("< " + line).rstrip() for line in step.input), *output]
            if output != step.output and not arguments.rewrite:
                wrong += 1
                print(f"{arguments.transcript}:{step.number}: {step.command}")
                print("\n".join(f"  - {line}" for line in step.output))
                print("\n".join(f"  + {line}" for line in output))
        if wrong:
            print(member.log())
    if arguments.rewrite:
        arguments.transcript.write_text("\n".join(written + rest) + "\n")
    print(f"{len(steps)} commands, {wrong} with another answer")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
