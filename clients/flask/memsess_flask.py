# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Flask's session, kept by mod_memsess: app.session_interface = MemSessInterface().

README.md beside this file says what an application should know.
"""
from flask.json.tag import TagDict, TaggedJSONSerializer
from flask.sessions import SessionInterface, SessionMixin
from markupsafe import Markup
from werkzeug.exceptions import ServiceUnavailable

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


class _TagDict(TagDict):
    """A dict of the application's that looks like any tag, and not only like one of Flask's."""

    __slots__ = ()

    def check(self, value):
        key = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else None
        return isinstance(key, str) and key.startswith(" ") and not isinstance(value, Tagged)


class Serializer(TaggedJSONSerializer):
    default_tags = [_TagDict if tag is TagDict else tag for tag in TaggedJSONSerializer.default_tags]


class FlaskCodec(Codec):
    markup = Markup

    def __init__(self, plain=(), serializer=None, default=None):
        super().__init__(plain)
        self.serializer, self.default = serializer or Serializer(), default

    def tag(self, value):
        return self.serializer.tag(value)

    def untag_one(self, key, inner):
        tag = self.serializer.tags[key]
        return super().untag_one(key, inner) if type(tag) in Serializer.default_tags else tag.to_python(inner)


class MemSessSession(SessionMixin):
    """Flask's session, which is read when it is first used."""

    accessed = modified = False

    def __init__(self, front):
        self.front = front
        self._data = None
        self._was_permanent = self._closed = self._is_refused = False

    @property
    def id(self):
        """The public id, for logs; None where there is no session yet."""
        return self.front.id

    sid = id

    @property
    def new(self):
        return self.front.state != "active"

    def _load(self):
        self.accessed = True
        if self._data is None:
            try:
                self._data = self.front.load()
            except Unavailable as error:
                # After that Flask makes the response of 503, and extensions may look for something in it.
                if self._is_refused:
                    return {}
                self._refuse(error)
            self._was_permanent = bool(self._data.get("_permanent"))
        return self._data

    def _refuse(self, error=None):
        self._is_refused = True
        raise ServiceUnavailable("The session servers do not answer.", retry_after=2) from error

    def _change(self):
        if self._closed:
            raise MemSessError(LATE)
        if self._is_refused:
            self._refuse()
        self.modified = True
        return self._load()

    def __getitem__(self, key):
        return self._load()[key]

    def __iter__(self):
        return iter(self._load())

    def __len__(self):
        return len(self._load())

    def __setitem__(self, key, value):
        self._change()[key] = value

    def __delitem__(self, key):
        del self._change()[key]

    def __repr__(self):
        return "<MemSessSession %r>" % (self._data,)

    def copy(self):
        return dict(self._load())

    def clear(self):
        """The end of the session; what is set from here on begins another one."""
        self._change().clear()
        self.front.end()
        self._was_permanent = False

    def renew(self):
        """A new id for the same data: for every change of privilege."""
        self._change()
        self.front.renew()

    def headers(self, lifetime):
        """The headers of the response, after which nothing can be changed."""
        if self._data is None:
            self._closed = True
            return []
        if self.permanent != self._was_permanent:
            self.front.expire(max(1, lifetime) if self.permanent else 0)
        headers = self.front.headers(self._data)
        self._closed = True
        return headers

    def check(self):
        """That nothing within a value was changed after the response had begun."""
        if self._data is not None and self.front.has_changed(self._data):
            raise MemSessError(LATE)


class MemSessInterface(SessionInterface):
    """plain: keys whose strings are stored as they are, by default the user of Flask-Login;
    field_size: what responsefieldsize= of ProxyPass says, if it does."""

    def __init__(self, plain=("_user_id",), field_size=8192):
        self.plain, self.field_size = plain, field_size
        self.serializer = Serializer()

    def open_session(self, app, request):
        prefix = "" if "MEMSESS_STATE" in request.environ else "HTTP_"
        codec = FlaskCodec(self.plain, self.serializer, getattr(getattr(app, "json", None), "default", None))
        return MemSessSession(Front(lambda name: request.environ.get(prefix + name), codec, self.field_size))

    def save_session(self, app, session, response):
        if session.accessed:
            response.vary.add("Cookie")
        for name, value in session.headers(app.permanent_session_lifetime.total_seconds()):
            response.headers.add(name, value)
        response.call_on_close(session.check)

    def regenerate(self, session):
        """As Flask-Session has it."""
        session.renew()
