"""How long a test waits for what must come.

Every bound is one for what hangs, never a measure, and counts the time in which this program ran: while it is
stopped, as a whole machine may be, or gets no core, the servers it waits for fare the same, and nobody has waited for
them. (WithRunningTime of tests/peers is the same in Go.) So no bound of a test's own looks at a clock.
"""

import select
import subprocess
import tempfile
import threading
import time
import urllib.request

PATIENCE = 60  # seconds
STEP = 0.1     # seconds; what a bound is precise to


class RunningTime:
    """Counts seconds in which this program ran, from when it is first asked: a sleep counts as what it was to take,
    however long it took."""

    def __init__(self, sleep=time.sleep):
        self.sleep, self.steps = sleep, 0
        self.thread = threading.Thread(target=self.count, daemon=True)
        self.lock = threading.Lock()

    def count(self):
        while True:
            self.sleep(STEP)
            self.steps += 1

    def __call__(self):
        with self.lock:
            if self.thread.ident is None:
                self.thread.start()
        return self.steps * STEP


running_time = RunningTime()


class Bound:
    """Is over after so many seconds of running."""

    def __init__(self, within=PATIENCE, now=running_time):
        self.now, self.end = now, now() + within

    def is_over(self):
        return self.now() >= self.end


def until(condition, what, within=PATIENCE, every=0.005, now=running_time):
    """Asks until the answer is true, and gives it."""
    bound = Bound(within, now)
    while not (answer := condition()):
        if bound.is_over():
            raise AssertionError(f"{what}: not within {within} s")
        time.sleep(every)
    return answer


def ended(process, within=PATIENCE):
    """The exit code of a process that must end; negative: the signal."""
    until(lambda: process.poll() is not None, f"the end of {process.args[0]}", within)
    return process.returncode


def run(command, stdin=b"", within=PATIENCE, **options):
    """As subprocess.run with all output captured."""
    with tempfile.TemporaryFile() as given:  # communicate() gives nothing any more once it has timed out
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    with process:
        bound = Bound(within)
        while True:
            try:
                out, err = process.communicate(timeout=STEP)
                return subprocess.CompletedProcess(command, process.returncode, out, err)
            except subprocess.TimeoutExpired:
                if bound.is_over():
                    process.kill()
                    raise AssertionError(f"{command}: not within {within} s") from None
            except BaseException:
                process.kill()
                raise


def receive(sock, size, within=PATIENCE):
    """What comes next; b"" at the end."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    until(lambda: poll.poll(STEP * 1000), "something to receive", within, every=0)
    return sock.recv(size)


def fetch(url, within=PATIENCE):
    """What a GET of it answers, asked again where an answer takes long. An answer that is an error is raised."""
    bound = Bound(within)
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read()
        except TimeoutError:
            if bound.is_over():
                raise


def join(thread, within=PATIENCE):
    """False if it did not end."""
    bound = Bound(within)
    while thread.is_alive() and not bound.is_over():
        thread.join(STEP)
    return not thread.is_alive()
