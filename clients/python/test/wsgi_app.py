#!/usr/bin/python3
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The WSGI application of t/402-asgi-wsgi.t, wsgi_app:app for a server; as a program, for CGI."""
import pathlib
import sys
from urllib.parse import unquote_plus
from wsgiref.handlers import CGIHandler

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from commands import late, run
from memsess_wsgi import MemSessMiddleware


def application(environ, start_response):
    session = environ["memsess"]
    command = environ["PATH_INFO"].rpartition("/")[2]
    argument = unquote_plus(environ["QUERY_STRING"])
    if command == "put":
        argument = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    if command == "late":
        body = late(session, argument)
    else:
        body = [run(session, command, argument).encode()]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return body


app = MemSessMiddleware(application, plain=["user"], field_size=400000)

if __name__ == "__main__":
    CGIHandler().run(MemSessMiddleware(application, plain=["user"]))
