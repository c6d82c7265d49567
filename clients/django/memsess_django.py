# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Django's sessions, kept by mod_memsess: 'memsess_django.MemSessMiddleware' in MIDDLEWARE, in place
of django.contrib.sessions.middleware.SessionMiddleware.

README.md beside this file says what a project should know.
"""
import logging

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.utils import timezone as django_timezone
from django.utils.cache import patch_vary_headers
from django.utils.safestring import mark_safe

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


class DjangoCodec(Codec):
    markup = staticmethod(mark_safe)

    # Without USE_TZ a naive date-time is of the project's time zone, and all are naive.
    def tag(self, value):
        if isinstance(value, datetime) and django_timezone.is_naive(value):
            value = django_timezone.make_aware(value)
        return super().tag(value)

    def untag_one(self, key, inner):
        value = super().untag_one(key, inner)
        return value if key != " d" or settings.USE_TZ else django_timezone.make_naive(value)


class SessionStore(SessionBase):
    """Django's session of one request. Without a request of mod_memsess's (SESSION_ENGINE in a
    command) there is none."""

    def __init__(self, session_key=None, front=None):
        self._modified = self._closed = False
        self.front = front
        super().__init__(session_key if front is None else front.id)

    # What changes a session says so here.
    @property
    def modified(self):
        return self._modified

    @modified.setter
    def modified(self, value):
        if value and self._closed:
            raise MemSessError(LATE)
        self._modified = value

    def _in_front(self):
        if self.front is None:
            raise ImproperlyConfigured("Sessions of mod_memsess are there in requests alone, by MemSessMiddleware.")
        return self.front

    # As of Django's, but for a request without a session, which mod_memsess has a word for, too.
    def _get_session(self, no_load=False):
        self.accessed = True
        if not hasattr(self, "_session_cache"):
            self._session_cache = self.load()
        return self._session_cache

    _session = property(_get_session)

    async def _aget_session(self, no_load=False):
        return self._get_session()

    def load(self):
        data = self._in_front().load()
        self._expiry_was = data.get("_session_expiry")
        if isinstance(self._expiry_was, (datetime, str)) and self.get_expiry_age(expiry=self._expiry_was) <= 0:
            self.delete()
            return {}
        return data

    _expiry_was = None

    def exists(self, session_key):
        return self._in_front().is_active and session_key == self.front.id

    def create(self):
        self.cycle_key()

    def save(self, must_create=False):
        """Django's middleware calls it; the headers of the response are what saves."""
        self._get_session()
        self.modified = True

    def delete(self, session_key=None):
        """The end of the session; what is set from here on begins another one."""
        if session_key is not None and session_key != self._in_front().id:
            raise MemSessError("Of all sessions, a request can delete its own alone.")
        self._in_front().end()
        self._session_key = self._expiry_was = None
        self.modified = True

    def flush(self):
        self._session_cache = {}
        self.delete()
        self.accessed = True

    def cycle_key(self):
        """A new id for the same data. The public id, which is session_key here, stays."""
        self._get_session()
        self._in_front().renew()
        self.modified = True

    @classmethod
    def clear_expired(cls):
        """memcached does."""

    # Django 5.1 has them.
    async def aflush(self):
        self.flush()

    async def acycle_key(self):
        self.cycle_key()

    async def acreate(self):
        self.create()

    async def asave(self, must_create=False):
        self.save(must_create)

    async def aload(self):
        return self.load()

    async def adelete(self, session_key=None):
        self.delete(session_key)

    async def aexists(self, session_key):
        return self.exists(session_key)

    def headers(self, is_error):
        """The headers of the response, after which nothing can be changed. A response of 500 ends a
        session that was flushed, and saves nothing, as ever in Django."""
        headers = []
        if hasattr(self, "_session_cache"):
            if self.get("_session_expiry") != self._expiry_was:
                self.front.expire(self._idle())
            headers = self.front.headers({} if is_error else self._session_cache)
            if is_error:
                headers = [header for header in headers if header[0] == "MemSess-Destroy"]
        self._closed = True
        return headers

    def _idle(self):
        return max(1, self.get_expiry_age()) if self.get("_session_expiry") else 0

    def check(self):
        """That nothing within a value was changed after the response had begun."""
        if hasattr(self, "_session_cache") and self.front.has_changed(self._session_cache):
            raise MemSessError(LATE)


class MemSessMiddleware(SessionMiddleware):
    """Settings: MEMSESS_PLAIN, keys whose strings are stored as they are; MEMSESS_FIELD_SIZE,
    what responsefieldsize= of ProxyPass says, if it does."""

    def __init__(self, get_response):
        super().__init__(get_response)
        self.SessionStore = SessionStore
        self.codec = DjangoCodec(getattr(settings, "MEMSESS_PLAIN", ["_auth_user_id"]))
        self.field_size = getattr(settings, "MEMSESS_FIELD_SIZE", 8192)
        self._refuse_order(settings.MIDDLEWARE)

    # ConditionalGetMiddleware makes another response, a 304, which would lack what changes the session.
    @staticmethod
    def _refuse_order(middleware):
        own = "memsess_django.MemSessMiddleware"
        other = "django.middleware.http.ConditionalGetMiddleware"
        if own in middleware and other in middleware[:middleware.index(own)]:
            raise ImproperlyConfigured("In MIDDLEWARE, %s must stand above %s." % (own, other))

    def process_request(self, request):
        prefix = "" if "MEMSESS_STATE" in request.META else "HTTP_"
        front = Front(lambda name: request.META.get(prefix + name), self.codec, self.field_size)
        request.session = SessionStore(front=front)
        # What Django's own cache keeps is kept by it: the session's cookie does not come here.
        request.META["HTTP_MEMSESS_ID"] = front.id or ""
        if front.state == "unavailable":
            return HttpResponse("The session cannot be read now: the session servers do not answer.\n", status=503,
                                content_type="text/plain", headers={"Retry-After": "2"})
        return None

    def process_response(self, request, response):
        session = request.session
        if session.front.state == "unavailable":
            return response
        if session.accessed:
            patch_vary_headers(response, ("Cookie", "MemSess-Id"))
        lines = session.headers(response.status_code == 500)
        if lines:
            request._cache_update_cache = False
            own = response.items
            response.items = lambda: [*own(), *lines]  # Django has one header of a name, and these repeat
        if response.status_code != 500:
            self._watch(session, response)
        return response

    def _watch(self, session, response):
        if response.streaming and not getattr(response, "is_async", False):
            response.streaming_content = _checked(response.streaming_content, session)
        else:
            response._resource_closers.append(_LogLate(session))


def _checked(content, session):
    try:
        yield from content
        session.check()
    except MemSessError as error:
        _log(error)
        raise


def _log(error):
    logging.getLogger("django.request").error("%s", error)


class _LogLate:
    """A response's last act. A copy of it in a cache has none."""

    def __init__(self, session=None):
        self.session = session

    def __reduce__(self):
        return _LogLate, ()

    def __call__(self):
        try:
            if self.session:
                self.session.check()
        except MemSessError as error:
            _log(error)
