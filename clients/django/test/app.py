# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The project of t/400-django.t: /app/NAME?ARGUMENT, the same in all languages, and what Django has
besides, the admin for one; app:app for a server."""
import json
import pathlib
import sys
import tempfile
from urllib.parse import unquote_plus

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import django
from django.conf import settings

DATABASE = tempfile.TemporaryDirectory()
TEMPLATE = {
    "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages"]}}
settings.configure(
    DEBUG=False, ALLOWED_HOSTS=["*"], SECRET_KEY="of the tests", ROOT_URLCONF=__name__, USE_TZ=True,
    INSTALLED_APPS=["django.contrib." + name for name in
                    ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.cache.UpdateCacheMiddleware",
        "memsess_django.MemSessMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.cache.FetchFromCacheMiddleware"],
    TEMPLATES=[TEMPLATE], STATIC_URL="/app/static/", DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE.name + "/db"}},
    LOGGING={"version": 1, "handlers": {"console": {"class": "logging.StreamHandler"}},
             "loggers": {"django.request": {"handlers": ["console"], "level": "ERROR"}}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    CSRF_USE_SESSIONS=True, SESSION_ENGINE="memsess_django", MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
    MEMSESS_PLAIN=["user", "_auth_user_id"], MEMSESS_FIELD_SIZE=400000)
django.setup()

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core import checks
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

BYTES = bytes(range(256))


def dumps(value):
    return json.dumps(value, separators=(",", ":"))


def add(session, key):
    session[key] = session.get(key, 0) + 1


def nested(session, _):
    session.setdefault("cart", {}).setdefault("n", 0)
    session["cart"]["n"] += 1


def log_in(session, user):
    session.cycle_key()
    session["user"] = user


def switch(session, user):
    session.flush()
    session["user"] = user


def expire(session, seconds):
    session["kept"] = 1
    session.set_expiry(int(seconds) if seconds else None)


COMMANDS = {
    "get": lambda session, key: dumps(session.get(key)),
    "dump": lambda session, _: dumps(dict(session.items())),
    "id": lambda session, _: session.session_key,
    "delete": lambda session, key: session.pop(key),
    "add": add,
    "nested": nested,
    "bytes": lambda session, _: session.update({"bytes": BYTES}),
    "is-bytes": lambda session, _: "same" if session["bytes"] == BYTES else "other",
    "object": lambda session, _: session.update({"object": object()}),
    "login": log_in,
    "renew": lambda session, _: session.cycle_key(),
    "switch": switch,
    "logout": lambda session, _: session.flush(),
    "expire": expire,
    "untouched": lambda session, _: "nothing",
    # Of Django's own.
    "safe": lambda session, _: session.update({"safe": mark_safe("<b>")}),
    "is-safe": lambda session, _: type(session["safe"]).__name__,
    "test-cookie": lambda session, _: session.set_test_cookie(),
    "test-cookie-worked": lambda session, _: dumps(session.test_cookie_worked()),
    "age": lambda session, _: dumps(session.get_expiry_age()),
    "broken": lambda session, _: add(session, "broken") or 1 / 0,
}


@csrf_exempt
@never_cache
def run(request, command):
    argument = unquote_plus(request.META["QUERY_STRING"])
    if command == "put":
        request.session.update(json.loads(request.body))
        return HttpResponse("")
    said = COMMANDS[command](request.session, argument)
    return HttpResponse(said if isinstance(said, str) else "", content_type="text/plain")


@never_cache
def late(request):
    session = request.session
    session.setdefault("cart", {})

    def body():
        yield "begun\n"
        if request.META["QUERY_STRING"] == "nested":
            session["cart"]["n"] = 1000
        else:
            session["late"] = 1
        yield "done\n"
    return StreamingHttpResponse(body(), content_type="text/plain")


# As Django's documentation has them, https://docs.djangoproject.com/en/stable/topics/http/sessions/#examples.
@never_cache
def post_comment(request, new_comment):
    if request.session.get("has_commented", False):
        return HttpResponse("You've already commented.")
    request.session["has_commented"] = True
    return HttpResponse("Thanks for your comment!")


@never_cache
def logout(request):
    try:
        del request.session["member_id"]
    except KeyError:
        pass
    return HttpResponse("You're logged out.")


@never_cache
def say(request):
    messages.info(request, "<b>one</b> \u2603")
    messages.error(request, mark_safe("<i>two</i>"), extra_tags="x")
    return HttpResponse("")


@never_cache
def said(request):
    return HttpResponse("\n".join("%s %s %s" % (m.tags, type(m.message).__name__, m) for m in messages.get_messages(request)))


@never_cache
def form(request):
    if request.method == "POST":
        return HttpResponse("posted")
    return HttpResponse(get_token(request))


# What Django's own cache keeps, a page for each session.
def cached(request):
    return HttpResponse("for %s" % request.session.get("user"))


def counted(request):
    add(request.session, "counted")
    return HttpResponse("%d" % request.session["counted"])


urlpatterns = [
    path("app/admin/", admin.site.urls), path("app/late", late), path("app/say", say), path("app/said", said),
    path("app/form", form), path("app/cached", cached), path("app/counted", counted), path("app/doc/out", logout),
    path("app/doc/<str:new_comment>", post_comment), path("app/<str:command>", run)]


found = checks.run_checks()
assert not found, found
call_command("migrate", verbosity=0)
User.objects.create_superuser("ann", "ann@example.org", "secret")
app = get_wsgi_application()
