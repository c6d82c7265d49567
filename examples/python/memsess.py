"""Sessions of mod_memsess for WSGI.

In the application, environ["memsess"] is a dict of strings. What it changes there before it
calls start_response goes into response headers, and so into the session.
"""
from urllib.parse import parse_qsl, urlencode


class Session(dict):
    """The attributes, and what cannot be said by changing them."""

    def __init__(self, environ):
        data = environ.get("HTTP_MEMSESS_DATA", "")
        super().__init__(parse_qsl(data, keep_blank_values=True))
        self.state = environ.get("HTTP_MEMSESS_STATE", "none")
        self.id = environ.get("HTTP_MEMSESS_ID")  # public: for logs
        self._before = dict(self)
        self._headers = []

    def incr(self, name, by=1):
        """Adds exactly, whoever else does so at the same time."""
        self._headers.append(("MemSess-Incr", urlencode({name: by})))

    def renew(self):
        """A new id: for log-in and every change of privilege."""
        self._headers.append(("MemSess-Renew", "1"))

    def destroy(self):
        """Ends the session; what is set from here on begins a new one."""
        self.clear()
        self._before = {}
        self._headers.append(("MemSess-Destroy", "1"))

    def headers(self):
        changed = {n: v for n, v in self.items() if self._before.get(n) != v}
        gone = [n for n in self._before if n not in self]
        return (self._headers
                + [("MemSess-Set", urlencode({n: v})) for n, v in changed.items()]
                + [("MemSess-Unset", n) for n in gone])


def middleware(app):
    def with_session(environ, start_response):
        session = environ["memsess"] = Session(environ)

        def start(status, headers, *error):
            return start_response(status, list(headers) + session.headers(), *error)

        return app(environ, start)
    return with_session
