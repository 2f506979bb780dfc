"""Frameworks, templates, forms, mail."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import NO_THREAD, known_calls

_JINJA = "https://jinja.palletsprojects.com/en/stable/api/"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "jinja2.*",
        "compute",
        f"Cache what is rendered, or render in a process pool; {NO_THREAD}: it is Python code.",
        _JINJA,
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "jinja2.Environment.compile jinja2.Environment.from_string jinja2.Environment.parse "
        "jinja2.Environment._parse jinja2.compiler.* jinja2.parser.* jinja2.lexer.*",
        "startup",
        "Compile templates at start-up: environment.get_template(name) keeps them, from_string(source) "
        "does not.",
        _JINJA,
        "2026-11",
    ),
    *known_calls(
        "mako.*",
        "compute",
        f"Cache what is rendered, or render in a process pool; {NO_THREAD}: it is Python code.",
        "https://docs.makotemplates.org/en/latest/caching.html",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "mako.template.Template.__init__ mako.lookup.*",
        "startup",
        "Compile templates at start-up: mako.lookup.TemplateLookup(directories).get_template(uri) keeps "
        "them.",
        "https://docs.makotemplates.org/en/latest/usage.html",
        "2026-11",
    ),
    *known_calls(
        "django.template.*",
        "compute",
        f"Cache what is rendered, or render in a process pool; {NO_THREAD}: it is Python code.",
        "https://docs.djangoproject.com/en/stable/topics/cache/#template-fragment-caching",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "django.core.mail.*",
        "network",
        "Send mail in a thread: await asyncio.to_thread(message.send), or from a task queue.",
        "https://docs.djangoproject.com/en/stable/topics/email/",
        "2026-11",
    ),
    *known_calls(
        "django.core.serializers.*",
        "serialisation",
        f"Send less at once (pages), or values() of a query; {NO_THREAD}: it is Python code.",
        "https://docs.djangoproject.com/en/stable/topics/serialization/",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "django.http.multipartparser.*",
        "serialisation",
        f"Bound uploads (DATA_UPLOAD_MAX_MEMORY_SIZE), or send them to the file store; {NO_THREAD}.",
        "https://docs.djangoproject.com/en/stable/ref/settings/#data-upload-max-memory-size",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "fastapi.encoders.* fastapi.routing.serialize_response fastapi._compat.*",
        "serialisation",
        f"Send less at once (pages), or return fastapi.Response(content=...) with bytes; {NO_THREAD}.",
        "https://fastapi.tiangolo.com/advanced/response-directly/",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "fastapi.openapi.*",
        "startup",
        "Call app.openapi() once at start-up: it keeps the schema.",
        "https://fastapi.tiangolo.com/how-to/extending-openapi/",
        "2026-11",
    ),
    *known_calls(
        "starlette.formparsers.* python_multipart.* multipart.*",
        "serialisation",
        f"Read large uploads by async for chunk in request.stream(), not as a form; {NO_THREAD}.",
        "https://www.starlette.io/requests/#body",
        "2026-11",
        releases_gil=False,
    ),
)
