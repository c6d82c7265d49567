# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The application of t/401-flask.t: /app/NAME?ARGUMENT, the same in all languages, and what Flask has
besides; app:app for a server."""
import json
import pathlib
import sys
from datetime import timedelta
from urllib.parse import unquote_plus

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from flask import Flask, Response, flash, get_flashed_messages, redirect, request, session, stream_with_context
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from markupsafe import Markup

from memsess_flask import MemSessInterface

app = Flask(__name__)
app.secret_key = "of Flask-Login alone"
app.session_interface = MemSessInterface(plain=["user", "_user_id"], field_size=400000)


def dumps(value):
    return json.dumps(value, separators=(",", ":"))


BYTES = bytes(range(256))


def add(key):
    session[key] = session.get(key, 0) + 1


def nested():
    session.setdefault("cart", {}).setdefault("n", 0)
    session["cart"]["n"] += 1


def kept(seconds):
    app.permanent_session_lifetime = timedelta(seconds=int(seconds))
    session.permanent = True
    session["kept"] = 1


def switch(user):
    session.clear()
    session["user"] = user


COMMANDS = {
    "get": lambda key: dumps(session.get(key)),
    "dump": lambda _: dumps(dict(session)),
    "id": lambda _: str(session.id),
    "put": lambda _: session.update(request.get_json()),
    "delete": lambda key: session.pop(key),
    "add": add,
    "nested": lambda _: nested(),
    "bytes": lambda _: session.update(bytes=BYTES),
    "is-bytes": lambda _: "same" if session["bytes"] == BYTES else "other",
    "object": lambda _: session.update(object=object()),
    "login": lambda user: session.update(user=user),
    "renew": lambda _: session.renew(),
    "switch": switch,
    "logout": lambda _: session.clear(),
    "expire": kept,
    "untouched": lambda _: "nothing",
    # Of Flask's own.
    "tagged": lambda _: session.update(tuple=(1, ("a", b"\xff")), html=Markup("<b>"), one={" t": [1]}),
    "is-tagged": lambda _: repr([session["tuple"], session["html"], session["one"]]),
    "flash": lambda text: flash(text, "error") or flash("two"),
    "flashed": lambda _: dumps(get_flashed_messages(with_categories=True)),
    "transient": lambda _: setattr(session, "permanent", False),
}


@app.route("/app/<command>", methods=["GET", "POST"])
def run(command):
    said = COMMANDS[command](unquote_plus(request.query_string.decode()))
    return Response(said if isinstance(said, str) else "", content_type="text/plain")


@app.route("/app/late")
def late():
    session.setdefault("cart", {})

    @stream_with_context
    def body():
        yield "begun\n"
        if request.query_string == b"nested":
            session["cart"]["n"] = 1000
        else:
            session["late"] = 1
        yield "done\n"
    return Response(body(), content_type="text/plain")


# As Flask's documentation has it, https://flask.palletsprojects.com/quickstart/#sessions, at /app/doc.
@app.route("/app/doc/")
def index():
    if "username" in session:
        return f'Logged in as {session["username"]}'
    return "You are not logged in"


@app.route("/app/doc/login", methods=["GET", "POST"])
def login():
    if request.method == "POST":
        session["username"] = request.form["username"]
        return redirect("/app/doc/")
    return "a form"


@app.route("/app/doc/logout")
def logout():
    session.pop("username", None)
    return redirect("/app/doc/")


# Flask-Login.
manager = LoginManager(app)


class User(UserMixin):
    def __init__(self, number):
        self.id = number


@manager.user_loader
def load_user(number):
    return User(number)


@app.route("/app/fl/login/<number>")
def fl_login(number):
    return str(login_user(User(number)))


@app.route("/app/fl/me")
@login_required
def fl_me():
    return current_user.id


@app.route("/app/fl/logout")
def fl_logout():
    return str(logout_user())
