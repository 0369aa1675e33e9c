#!/usr/bin/env python3
"""python3-etcd3, Debian's client, against one member: what its documentation promises.

KEELSON_BIN names the server. Exit 77: the client is not there for this python.
"""

import os
import sys
import threading
import unittest

try:
    import etcd3
except ImportError as error:
    print(f"skipped: python3-etcd3 is not there for {sys.executable} ({error})")
    sys.exit(77)

from member import Member

WITHIN = 20


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.member = Member(os.environ["KEELSON_BIN"]).start()
        cls.client = etcd3.client(host="127.0.0.1", port=cls.member.port, timeout=WITHIN)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.member.__exit__()

    def setUp(self):
        self.prefix = f"/{self._testMethodName}/"

    def key(self, name):
        return self.prefix + name

    def test_put_get_delete(self):
        key = self.key("a")
        self.assertEqual(self.client.get(key), (None, None))
        self.client.put(key, "one")
        before = self.client.put(key, "two", prev_kv=True).prev_kv
        self.assertEqual(before.value, b"one")
        value, about = self.client.get(key)
        self.assertEqual((value, about.version, about.key), (b"two", 2, key.encode()))
        self.assertEqual(about.mod_revision, about.create_revision + 1)
        self.assertTrue(self.client.delete(key))
        self.assertFalse(self.client.delete(key))

    def test_ranges(self):
        for name in "cab":
            self.client.put(self.key(name), name.upper())
        found = [value for value, _ in self.client.get_prefix(self.prefix, sort_order="descend")]
        self.assertEqual(found, [b"C", b"B", b"A"])
        found = [about.key.decode() for _, about in self.client.get_range(self.key("a"), self.key("c"))]
        self.assertEqual(found, [self.key("a"), self.key("b")])
        self.assertEqual(self.client.delete_prefix(self.prefix).deleted, 3)
        self.assertEqual(list(self.client.get_prefix(self.prefix)), [])

    def test_conditional_puts(self):
        key = self.key("a")
        self.assertTrue(self.client.put_if_not_exists(key, "1"))
        self.assertFalse(self.client.put_if_not_exists(key, "2"))
        self.assertTrue(self.client.replace(key, "1", "2"))
        self.assertFalse(self.client.replace(key, "1", "3"))
        self.assertEqual(self.client.get(key)[0], b"2")

    def test_transaction(self):
        made, key = self.client.transactions, self.key("a")
        outcome, answers = self.client.transaction(
            compare=[made.version(key) == 0],
            success=[made.put(key, "new"), made.get(key)],
            failure=[made.delete(key)])
        self.assertTrue(outcome)
        self.assertEqual(answers[1][0][0], b"new")
        outcome, _ = self.client.transaction(
            compare=[made.value(key) == "old", made.mod(key) > 0], success=[], failure=[made.delete(key)])
        self.assertFalse(outcome)
        self.assertEqual(self.client.get(key), (None, None))

    def test_lease(self):
        lease = self.client.lease(600)
        self.client.put(self.key("a"), "1", lease)
        self.client.put(self.key("b"), "2", lease)
        self.assertEqual(lease.granted_ttl, 600)
        self.assertGreater(lease.remaining_ttl, 500)
        self.assertEqual(sorted(lease.keys), [self.key("a").encode(), self.key("b").encode()])
        self.assertEqual([answer.TTL for answer in lease.refresh()], [600])
        lease.revoke()
        self.assertEqual(list(self.client.get_prefix(self.prefix)), [])

    def test_lease_of_a_chosen_id(self):
        lease = self.client.lease(600, lease_id=4711)
        self.assertEqual(lease.id, 4711)
        with self.assertRaises(Exception):
            self.client.lease(600, lease_id=4711)
        lease.revoke()

    def test_watch(self):
        first = self.client.put(self.key("a"), "1").header.revision
        self.client.put(self.key("a"), "2")
        self.client.delete(self.key("a"))
        events, cancel = self.client.watch_prefix(self.prefix, start_revision=first)
        seen = [next(events) for _ in range(3)]
        self.assertEqual([type(event).__name__ for event in seen], ["PutEvent", "PutEvent", "DeleteEvent"])
        self.assertEqual([event.value for event in seen], [b"1", b"2", b""])
        self.client.put(self.key("b"), "3")
        self.assertEqual(next(events).key, self.key("b").encode())
        cancel()

    def test_watch_callback(self):
        told = threading.Event()
        watch = self.client.add_watch_callback(self.key("a"), lambda _: told.set())
        self.client.put(self.key("a"), "1")
        self.assertTrue(told.wait(WITHIN))
        self.client.cancel_watch(watch)

    def test_watch_of_what_is_compacted(self):
        for n in range(3):
            now = self.client.put(self.key("a"), str(n)).header.revision
        self.client.compact(now, physical=True)
        events, _ = self.client.watch(self.key("a"), start_revision=now - 1)
        with self.assertRaises(etcd3.exceptions.RevisionCompactedError) as caught:
            next(events)
        self.assertEqual(caught.exception.compacted_revision, now)

    def test_lock(self):
        with self.client.lock(self.key("lock"), ttl=60) as mine:
            self.assertTrue(mine.is_acquired())
        again = self.client.lock(self.key("lock"), ttl=60)
        self.assertTrue(again.acquire(timeout=WITHIN))
        self.assertTrue(again.release())

    def test_maintenance(self):
        status = self.client.status()
        self.assertEqual((status.version, status.leader.id), ("3.7.1", next(iter(self.client.members)).id))
        self.assertEqual([member.name for member in self.client.members], ["m0"])
        self.assertEqual(list(self.client.list_alarms()), [])
        self.client.defragment()
        self.assertGreater(self.client.hash(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
