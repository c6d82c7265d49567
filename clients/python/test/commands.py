# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the applications of t/402-asgi-wsgi.t do with a session that is a dict."""
import json

BYTES = bytes(range(256))


def dumps(value):
    return json.dumps(value, separators=(",", ":"))


def add(session, key):
    session[key] = session.get(key, 0) + 1


def nested(session, _):
    session.setdefault("cart", {}).setdefault("n", 0)
    session["cart"]["n"] += 1


def switch(session, user):
    session.clear()
    session["user"] = user


def expire(session, seconds):
    session["kept"] = 1
    session.expire(int(seconds))


COMMANDS = {
    "get": lambda session, key: dumps(session.get(key)),
    "dump": lambda session, _: dumps(session),
    "id": lambda session, _: session.id,
    "put": lambda session, body: session.update(json.loads(body)),
    "delete": lambda session, key: session.pop(key),
    "add": add,
    "nested": nested,
    "bytes": lambda session, _: session.update(bytes=BYTES),
    "is-bytes": lambda session, _: "same" if session["bytes"] == BYTES else "other",
    "object": lambda session, _: session.update(object=object()),
    "login": lambda session, user: session.update(user=user),
    "renew": lambda session, _: session.renew(),
    "switch": switch,
    "logout": lambda session, _: session.destroy(),
    "expire": expire,
    "untouched": lambda session, _: "nothing",
}


def run(session, command, argument):
    said = COMMANDS[command](session, argument)
    return said if isinstance(said, str) else ""


def late(session, how):
    session.setdefault("cart", {})

    def body():
        yield b"begun\n"
        if how == "nested":
            session["cart"]["n"] = 1000
        else:
            session["late"] = 1
        yield b"done\n"
    return body()
