#!/usr/bin/python3
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The adapters in Python against clients/vectors.json; their common part is the same in all."""
import asyncio
import json
import math
import pathlib
import subprocess
import sys
import unittest
import uuid
from datetime import datetime, timezone

CLIENTS = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(CLIENTS / "python"), str(CLIENTS / "flask")]

import memsess_asgi
import memsess_flask
import memsess_wsgi

VECTORS = json.loads((CLIENTS / "vectors.json").read_text())


def same(a, b):
    return type(a) is type(b) and a == b


class TestVectors(unittest.TestCase):
    """WSGI's, whose codec ASGI and Django have, too."""

    module = memsess_wsgi

    def codec(self, plain=()):
        return self.module.Codec(plain)

    def front(self, variables, codec=None, **more):
        return self.module.Front(variables.get, codec or self.codec(), **more)

    def active(self, data, **more):
        return self.front({"MEMSESS_STATE": "active", "MEMSESS_ID": "id", "MEMSESS_DATA": data}, **more)

    def each(self, cases, check):
        for case in cases:
            with self.subTest(case=case):
                check(case)

    def test_names(self):
        def both(case):
            self.assertEqual(self.codec().name(case["key"]), case["name"])
            self.assertEqual(self.codec().key(case["name"]), case["key"])

        def refused(case):
            with self.assertRaisesRegex(self.module.MemSessError, case["key"][:20]):
                self.codec().name(case["key"])
        self.each(VECTORS["names"], both)
        self.each(VECTORS["names_refused"], refused)
        self.each(VECTORS["names_left_alone"]["names"], lambda name: self.assertIsNone(self.codec().key(name)))

    def reads(self, case):
        value = self.codec().decode("a", case["text"])
        self.assertTrue(same(value, case["value"]), value)

    def writes(self, case):
        self.assertEqual(self.codec().encode("a", case["value"]), case["text"])

    def test_values(self):
        self.each(VECTORS["values"]["both"], self.writes)
        self.each(VECTORS["values"]["both"] + VECTORS["values"]["read_only"], self.reads)
        for case in VECTORS["values"]["large_integers"]:
            self.assertEqual(self.codec().encode("a", int(case["text"])), case["text"])
            self.assertEqual(self.codec().decode("a", case["text"]), int(case["text"]))

    def test_refused(self):
        def refused(value):
            with self.assertRaisesRegex(self.module.MemSessError, "'the key'"):
                self.codec().encode("the key", value)
        loop = []
        loop.append(loop)
        self.each([math.nan, math.inf, -math.inf, object(), {1, 2}, 1j, loop], refused)

    def test_what_json_of_python_does_not_take(self):
        def kept(value):
            text = self.codec().encode("a", value)
            self.assertTrue(text.startswith('"'))
            self.assertEqual(self.codec().decode("a", text), value)
        self.each(["[" * 100000, "9" * 5000, "1e999", "\udcff"], kept)
        self.assertEqual(self.codec().decode("a", "9" * 5000), "9" * 5000)

    def test_plain(self):
        codec = self.codec(["a"])
        for case in VECTORS["plain"]["both"] + VECTORS["plain"]["write_only"]:
            self.assertEqual(codec.encode("a", case["value"]), case["text"])
        for case in VECTORS["plain"]["both"]:
            self.assertTrue(same(codec.decode("a", case["text"]), case["value"]))
        for value in VECTORS["plain"]["refused"]["values"]:
            self.assertRaises(self.module.MemSessError, codec.encode, "a", value)

    def meant(self, means):
        (what, value), = means.items()
        return {"hex": lambda: bytes.fromhex(value), "items": lambda: tuple(value), "uuid": lambda: uuid.UUID(value),
                "date": lambda: datetime.fromtimestamp(value, timezone.utc), "dict": lambda: value,
                "markup": lambda: self.markup(value)}[what]()

    def markup(self, value):
        return self.module.Tagged({" m": value})

    def test_tags(self):
        def both(case):
            value = self.codec().decode("a", case["text"])
            self.assertTrue(same(value, self.meant(case["means"])), value)
            self.assertEqual(self.codec().encode("a", self.meant(case["means"])), case["text"])

        def kept(text):
            self.assertEqual(self.codec().encode("a", [self.codec().decode("a", text)]), "[%s]" % text)
        self.each(VECTORS["tags"]["known"], both)
        self.each(VECTORS["tags"]["kept"]["texts"], kept)
        self.each([case["text"] for case in VECTORS["tags"]["nested"]], kept)

    def test_data(self):
        self.each(VECTORS["data"], lambda case: self.assertEqual(self.active(case["data"]).load(), case["dict"]))

    def test_set(self):
        for case in VECTORS["set"]["both"]:
            front = self.active("")
            front.load()
            key = self.codec().key(case["name"])
            headers = front.headers({key: self.codec().decode(key, case["text"])})
            self.assertEqual(headers, [("MemSess-Set", case["pair"])])

    def test_parts(self):
        def check(case):
            front = self.front(case["variables"])
            if "error" in case:
                self.assertRaisesRegex(self.module.MemSessError, case["error"], front.load)
            else:
                self.assertEqual(front.load(), case["dict"])
        self.each(VECTORS["parts"], check)

    def test_states(self):
        for state, wanted in VECTORS["states"].items():
            front = self.front({"MEMSESS_STATE": state, "MEMSESS_DATA": "a=1"})
            if wanted == "error":
                self.assertRaises(self.module.Unavailable, front.load)
            else:
                self.assertEqual(front.load(), {"a": 1} if wanted == "load" else {})
        self.assertRaisesRegex(self.module.MemSessError, "not in front", self.front({}).load)
        self.assertRaises(self.module.MemSessError, self.front({"MEMSESS_STATE": "odd"}).load)

    def test_changes(self):
        def check(case):
            front = self.active(case["data"])
            front.load()
            headers = front.headers(case["now"])
            given = [pair.split("=") for name, value in headers if name == "MemSess-Set" for pair in value.split("&")]
            self.assertEqual({n: self.module._unescape(v) for n, v in given}, case["set"])
            gone = [n for name, value in headers if name == "MemSess-Unset" for n in value.split("&")]
            self.assertEqual(sorted(gone), sorted(case["unset"]))
        self.each(VECTORS["changes"], check)
        self.each([{**case, **case["kept"]} for case in VECTORS["nulls"]["changes"]], check)

    def test_long(self):
        front = self.active("")
        front.load()
        headers = front.headers({"key%d" % n: "x" * 1000 for n in range(20)})
        self.assertEqual([value.count("&") + 1 for _, value in headers], [3, 3, 3, 3, 3, 3, 2])
        self.assertTrue(all(len(value) <= 4000 for _, value in headers))
        with self.assertRaisesRegex(self.module.MemSessError, "attribute big .*responsefieldsize"):
            front.headers({"big": "x" * 8157})
        self.assertEqual(len(self.active("").headers({"big": "x" * 8156})), 1)
        self.assertEqual(len(self.active("", field_size=9000).headers({"big": "x" * 8157})), 1)

    def test_renew(self):
        front = self.active("user=1", codec=self.codec(["user"]))
        front.load()
        self.assertEqual(front.headers({"user": "1", "a": 1}), [("MemSess-Set", "a=1")])
        self.assertEqual(front.headers({"user": "2"})[-1], ("MemSess-Renew", "1"))
        front = self.front({"MEMSESS_STATE": "none"})
        front.load()
        front.renew()
        front.end()
        self.assertEqual(front.headers({}), [])


class TestFlask(TestVectors):
    """Flask's own tags."""

    module = memsess_flask

    def codec(self, plain=()):
        return memsess_flask.FlaskCodec(plain)

    def markup(self, value):
        return memsess_flask.Markup(value)


class TestAsgi(unittest.TestCase):
    """What needs no server: WebSockets."""

    def talk(self, state, *answers, change=None):
        """What is sent, where the application changes the session and answers so."""
        sent = []

        async def app(scope, receive, send):
            if change:
                scope["session"].update(change)
            for answer in answers:
                await send({"type": answer})

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)
        headers = [(b"memsess-state", state), (b"memsess-id", b"id"), (b"memsess-data", b"a=1")]
        scope = {"type": "websocket", "headers": headers}
        asyncio.run(memsess_asgi.MemSessMiddleware(app)(scope, receive, send))
        return sent

    def test_accepted(self):
        sent = self.talk(b"active", "websocket.accept", "websocket.close", change={"b": 2})
        self.assertEqual(sent, [{"type": "websocket.accept", "headers": [(b"memsess-set", b"b=2")]},
                                {"type": "websocket.close"}])

    def test_not_accepted(self):
        self.assertEqual(self.talk(b"active", "websocket.close"), [{"type": "websocket.close"}])
        with self.assertRaisesRegex(memsess_asgi.MemSessError, "change is lost"):
            self.talk(b"active", "websocket.close", change={"b": 2})

    def test_unavailable(self):
        self.assertEqual(self.talk(b"unavailable", "websocket.accept"), [{"type": "websocket.close", "code": 1013}])


class TestFiles(unittest.TestCase):
    def test_common_part(self):
        self.assertEqual(subprocess.run([str(CLIENTS / "python" / "make"), "--check"]).returncode, 0)


if __name__ == "__main__":
    unittest.main()
