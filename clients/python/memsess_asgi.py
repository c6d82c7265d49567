# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Sessions of mod_memsess for ASGI: app = MemSessMiddleware(app), and scope["session"] is a dict.

That is Starlette's request.session: this takes the place of its SessionMiddleware. What the
application changes there before its response begins is the session's; README.md beside this file
says more.
"""
# -- common: begins --
import base64
import json
import re
import uuid
from datetime import datetime, timezone
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import quote, unquote_to_bytes


class MemSessError(Exception):
    """Something is wrong with the set-up, or with what the application does."""


class Unavailable(MemSessError):
    """The store cannot answer: this is no empty session, but a 503."""


class Tagged(dict):
    """A JSON object that is a tag of another language's: it is written back as it came."""


class Codec:
    """Keys to names of attributes, values to what is stored, and back.

    plain: keys whose strings are stored and read as they are, whatever they look like
    """

    markup = None   # a function of a string that is safe HTML, where the framework has a type for it
    default = None  # as of json.dumps

    def __init__(self, plain=()):
        self.plain = frozenset(plain)

    def name(self, key):
        if not isinstance(key, str):
            raise MemSessError("The session's key %r is no string." % (key,))
        if re.fullmatch(r"(?!\.\.)[A-Za-z0-9_.-]{1,64}", key):
            return key
        try:
            octets = key.encode()
        except UnicodeError:
            raise MemSessError("The session's key %r is no valid Unicode." % key) from None
        name = ".." + re.sub(rb"[^A-Za-z0-9_-]", lambda m: b".%02X" % m[0][0], octets).decode()
        if len(name) > 64:
            raise MemSessError("The session's key %r cannot be stored: as the name of an attribute, %s, it has %d "
                               "characters, and 64 are the most. Use a shorter key." % (key, name, len(name)))
        return name

    def key(self, name):
        """None for a name that no key leads to."""
        if not name.startswith(".."):
            return name
        try:
            key = re.sub(rb"\.([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), name[2:].encode()).decode()
            return key if self.name(key) == name else None
        except (UnicodeError, MemSessError):
            return None

    def encode(self, key, value):
        try:
            return self._encode(value, key in self.plain)
        except (TypeError, ValueError, RecursionError) as error:
            raise MemSessError("The session's %r cannot be stored: %s." % (key, error)) from error

    def _encode(self, value, is_plain):
        value = self.tag(value)
        if isinstance(value, str):
            if "\0" not in value and (is_plain or self._is_bare(value)):
                return str(value)
            if is_plain:
                raise ValueError("it has a NUL")
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=self.default)
        return text if _is_utf8(text) else json.dumps(value, allow_nan=False, separators=(",", ":"),
                                                      default=self.default)

    def _is_bare(self, text):
        if text.startswith('"') or not _is_utf8(text):
            return False
        try:
            _parse(text, parse_int=str, parse_float=str)
        except RecursionError:
            return False
        except ValueError:
            return True
        return False

    def decode(self, key, text):
        if key in self.plain:
            return text
        try:
            return _parse(text, parse_float=_finite, object_hook=self.untag)
        except (ValueError, RecursionError):
            return text

    def tag(self, value):
        """The value in what JSON has."""
        if hasattr(value, "__html__"):
            return {" m": str(value.__html__())}
        if isinstance(value, Tagged):
            return {k: self.tag(v) for k, v in value.items()}
        if isinstance(value, dict):
            value = {k: self.tag(v) for k, v in value.items()}
            key = next(iter(value)) if len(value) == 1 else None
            return {" di": {key + "__": value[key]}} if isinstance(key, str) and key.startswith(" ") else value
        if isinstance(value, list):
            return [self.tag(v) for v in value]
        if isinstance(value, tuple):
            return {" t": [self.tag(v) for v in value]}
        if isinstance(value, bytes):
            return {" b": base64.b64encode(value).decode()}
        if isinstance(value, uuid.UUID):
            return {" u": value.hex}
        if isinstance(value, datetime):
            value = value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)
            return {" d": format_datetime(value, usegmt=True)}
        return value

    def untag(self, value):
        """What a JSON object stands for; what is within it is done already."""
        key = next(iter(value)) if len(value) == 1 else ""
        if not key.startswith(" "):
            return value
        try:
            return self.untag_one(key, value[key])
        except (TypeError, ValueError, LookupError, AttributeError):
            return Tagged(value)

    def untag_one(self, key, inner):
        if key == " t" and isinstance(inner, list):
            return tuple(inner)
        if key == " di" and isinstance(inner, dict):
            (name, one), = inner.items()
            return {name[:-2]: one}
        if key == " m" and self.markup and isinstance(inner, str):
            return self.markup(inner)
        readers = {" b": lambda s: base64.b64decode(s, validate=True), " u": uuid.UUID, " d": _date}
        return readers[key](inner)


def _parse(text, **hooks):
    if text.strip(" \t\r\n") != text:
        raise ValueError("white space around it")
    return json.loads(text, parse_constant=_no_constant, **hooks)


def _no_constant(name):
    raise ValueError(name)


def _finite(text):
    number = float(text)
    if number - number:
        raise ValueError(text)
    return number


def _date(text):
    return parsedate_to_datetime(text).astimezone(timezone.utc)


def _is_utf8(text):
    try:
        text.encode()
    except UnicodeError:
        return False
    return True


class Front:
    """The request's session as mod_memsess hands it over, and what the response says of it.

    get: a function of a name such as MEMSESS_STATE, of the CGI variable or the header; None without
    field_size: what responsefieldsize= of ProxyPass says, 8192 if it is not there
    """

    STATES = ("none", "unknown", "expired", "invalid", "active", "unavailable")
    BATCH = 4000
    REST = 32  # of a header line is for the header's name and the line's end

    def __init__(self, get, codec, field_size=8192):
        self.state = get("MEMSESS_STATE")
        self.id = get("MEMSESS_ID")
        self._get, self._codec, self._most = get, codec, field_size - self.REST
        self._before, self._written = {}, None
        self._ends = self._renews = False
        self._expires = None

    @property
    def is_active(self):
        return self.state == "active" and not self._ends

    def load(self):
        """The session's data, once."""
        if self.state is None:
            raise MemSessError("mod_memsess is not in front of this application, or this section of its configuration "
                               "lacks MemSess On, or MemSessExpose headers (by CGI and FastCGI: MemSessExpose env).")
        if self.state not in self.STATES:
            raise MemSessError("MemSess-State is %r, which this adapter does not know." % self.state)
        if self.state == "unavailable":
            raise Unavailable("The session cannot be read now: the session servers do not answer.")
        data = {}
        for pair in self._data().split("&") if self.is_active else ():
            name, _, text = pair.partition("=")
            key = self._codec.key(_unescape(name))
            if name and key is not None:
                data[key] = self._codec.decode(key, _unescape(text))
        self._before = self._encoded(data)
        return data

    def _data(self):
        parts = self._get("MEMSESS_DATA_PARTS")
        if parts is None:
            got = [self._get("MEMSESS_DATA")]
        else:
            got = [self._get("MEMSESS_DATA_%d" % n) for n in range(1, int(parts) + 1)] if parts.isdecimal() else [None]
        if None in got:
            raise MemSessError("The session is there, but not its data, or not all of it: MEMSESS_DATA was lost on the "
                               "way, since it is too long for a variable or a header there. See docs/adapters.md.")
        return "".join(got)

    def _encoded(self, data):
        return {self._codec.name(key): self._codec.encode(key, value) for key, value in data.items()}

    def renew(self):
        """A new id for the same data: for every change of privilege."""
        self._renews = True

    def end(self):
        """The end of the session; what is set from here on begins another one."""
        self._ends, self._before = True, {}

    def expire(self, seconds):
        """The session ends when it was unused for this long. 0: the time-outs of the configuration."""
        self._expires = int(seconds)

    def has_changed(self, data):
        return self._encoded(data) != (self._before if self._written is None else self._written)

    def headers(self, data):
        """The headers that say what changed, of an iterable of names and values."""
        before, after = self._before, self._encoded(data)
        changed = {name: text for name, text in after.items() if before.get(name) != text}
        headers = []
        if self._ends and self.state == "active":
            headers.append(("MemSess-Destroy", "1"))
        headers += [("MemSess-Unset", names) for names in self._batches(name for name in before if name not in after)]
        headers += [("MemSess-Set", pairs) for pairs in self._batches(map(_pair, changed.items()))]
        if self.is_active or changed:
            if self._expires is not None:
                headers.append(("MemSess-Expire", str(self._expires)))
            if self._renews or any(self._codec.key(name) in self._codec.plain for name in changed):
                headers.append(("MemSess-Renew", "1"))
        self._written = after
        return headers

    def _batches(self, items):
        batch = ""
        for item in items:
            if len(item) > self._most:
                raise MemSessError(
                    "The session's attribute %s is too long for a header line: it takes %d bytes in form encoding, and "
                    "%d are the most. Split it over several keys, or let httpd reach the application by mod_proxy_http "
                    "with responsefieldsize= on ProxyPass, and give the adapter the same number as field_size."
                    % (item.partition("=")[0], len(item), self._most))
            if batch and len(batch) + 1 + len(item) > self.BATCH:
                yield batch
                batch = ""
            batch += "&" * bool(batch) + item
        if batch:
            yield batch


LATE = ("The session was changed after the response had begun: this change is lost. "
        "Change the session before the first byte of the body is sent.")


def _pair(item):
    return item[0] + "=" + quote(item[1], safe="", errors="surrogateescape")


def _unescape(text):
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "surrogateescape")
# -- common: ends --


# -- dict: begins --
class Session(dict):
    """The session's data, and what cannot be said by changing them."""

    def __init__(self, front):
        super().__init__(front.load())
        self._front = front
        self._closed = False

    @property
    def id(self):
        """The public id, for logs; None where there is no session yet."""
        return self._front.id

    @property
    def state(self):
        return self._front.state

    def renew(self):
        """A new id for the same data: for every change of privilege."""
        self._change()
        self._front.renew()

    def expire(self, seconds):
        """The session ends when it was unused for this long. 0: the time-outs of the configuration."""
        self._change()
        self._front.expire(seconds)

    def clear(self):
        """The end of the session; what is set from here on begins another one."""
        self._change()
        self._front.end()
        super().clear()

    destroy = clear

    def setdefault(self, key, default=None):
        if key not in self:
            self[key] = default
        return self[key]

    def close(self):
        """The headers of the response, after which nothing can be changed."""
        headers = self._front.headers(self)
        self._closed = True
        return headers

    def check(self):
        """That nothing within a value was changed after the response had begun."""
        if self._closed and self._front.has_changed(self):
            raise MemSessError(LATE)

    def _change(self):
        if self._closed:
            raise MemSessError(LATE)


def _guarded(name):
    def method(self, *args, **kwargs):
        self._change()
        return getattr(dict, name)(self, *args, **kwargs)
    method.__name__ = name
    return method


for _name in "__setitem__ __delitem__ __ior__ pop popitem update".split():
    if hasattr(dict, _name):
        setattr(Session, _name, _guarded(_name))
# -- dict: ends --


class MemSessMiddleware:
    """plain: keys whose strings are stored as they are, such as the user that a log-in sets;
    field_size: what responsefieldsize= of ProxyPass says, if it does."""

    def __init__(self, app, plain=(), field_size=8192):
        self.app, self.codec, self.field_size = app, Codec(plain), field_size

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").upper().replace("-", "_"): value.decode("latin-1")
                   for name, value in scope["headers"]}
        try:
            session = scope["session"] = Session(Front(headers.get, self.codec, self.field_size))
        except Unavailable as error:
            await _refuse(scope, receive, send, str(error))
            return
        beginnings = ("http.response.start", "websocket.accept", "websocket.http.response.start")
        begun = False

        async def send_ours(message):
            nonlocal begun
            if message["type"] in beginnings and not begun:
                begun = True  # for the error that may come of this, too
                ours = [(name.lower().encode(), value.encode()) for name, value in session.close()]
                message = dict(message, headers=list(message.get("headers", ())) + ours)
            await send(message)

        await self.app(scope, receive, send_ours)
        if not begun and session.close():
            raise MemSessError("The session was changed, and no response began that could say so: this change is lost.")
        session.check()


async def _refuse(scope, receive, send, text):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1013})
        return
    await send({"type": "http.response.start", "status": 503,
                "headers": [(b"content-type", b"text/plain"), (b"retry-after", b"2")]})
    await send({"type": "http.response.body", "body": text.encode() + b"\n"})
