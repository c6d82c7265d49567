#!/usr/bin/python3
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The ASGI application of t/402-asgi-wsgi.t, in Starlette: asgi_app.py PORT."""
import pathlib
import sys
from urllib.parse import unquote_plus

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

import commands
from memsess_asgi import MemSessMiddleware


async def run(request):
    command = request.path_params["command"]
    argument = await request.body() if command == "put" else unquote_plus(request.url.query)
    return PlainTextResponse(commands.run(request.session, command, argument))


async def late(request):
    return StreamingResponse(commands.late(request.session, request.url.query), media_type="text/plain")


async def afterwards(request):
    return PlainTextResponse("", background=BackgroundTask(commands.add, request.session, "afterwards"))


# As Starlette's documentation has it, https://www.starlette.io/requests/ and its own tests.
async def view_session(request):
    return JSONResponse({"session": request.session})


async def update_session(request):
    data = await request.json()
    request.session.update(data)
    return JSONResponse({"session": request.session})


async def clear_session(request):
    request.session.clear()
    return JSONResponse({"session": request.session})


app = Starlette(
    routes=[Route("/app/late", late), Route("/app/afterwards", afterwards), Route("/app/view_session", view_session),
            Route("/app/update_session", update_session, methods=["POST"]),
            Route("/app/clear_session", clear_session, methods=["POST"]),
            Route("/app/{command}", run, methods=["GET", "POST"])],
    middleware=[Middleware(MemSessMiddleware, plain=["user"], field_size=400000)])

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
