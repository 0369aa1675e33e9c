#!/usr/bin/env python3
"""Bounds count the time in which the program ran, whatever clocks say."""

import queue
import sys
import unittest

sys.dont_write_bytecode = True
import patience  # noqa: E402
from patience import Bound, RunningTime, until  # noqa: E402


class Steps:
    """A running time whose sleeps end when the test lets them."""

    def __init__(self):
        self.begun, self.ends = queue.Queue(), queue.Queue()
        self.now = RunningTime(self.sleep)
        self.now()
        self.begun.get()

    def sleep(self, seconds):
        self.begun.put(seconds)
        self.ends.get()

    def pass_one(self):
        self.ends.put(None)
        self.begun.get()  # the next one has begun: this one is counted


class Patience(unittest.TestCase):
    def test_a_bound_is_over_after_so_many_steps(self):
        steps = Steps()
        bound = Bound(3 * patience.STEP, steps.now)
        for _ in range(3):
            self.assertFalse(bound.is_over())
            steps.pass_one()
        self.assertTrue(bound.is_over())

    def test_who_is_stopped_has_not_waited(self):
        # The sleep of a program that is stopped goes on for as long as that takes.
        steps, asked = Steps(), 0

        def later():
            nonlocal asked
            asked += 1
            return asked > 50

        self.assertTrue(until(later, "it", within=patience.STEP, every=0, now=steps.now))

    def test_what_does_not_come_is_named(self):
        steps = Steps()

        def never():
            steps.pass_one()
            return False

        with self.assertRaisesRegex(AssertionError, "it: not within 1 s"):
            until(never, "it", within=1, every=0, now=steps.now)

    def test_a_process_is_given_its_input_and_its_time(self):
        echo = [sys.executable, "-c", "import sys, time; time.sleep(0.3); sys.stdout.write(sys.stdin.read()); sys.exit(3)"]
        done = patience.run(echo, b"x" * 1_000_000)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (3, b"x" * 1_000_000, b""))
        with self.assertRaises(AssertionError):
            patience.run([sys.executable, "-c", "import time; time.sleep(1000)"], within=0.2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
