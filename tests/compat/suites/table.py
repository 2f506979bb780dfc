"""The suites: which version, what its tests need besides, and which of them are not run, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one project, as its source package has them."""

    name: str
    version: str
    requires: tuple[str, ...]
    """What the tests need besides; not pinned, as each comparison has its own run without the package."""
    tests: tuple[str, ...] = ("tests",)
    options: tuple[str, ...] = ()
    """For pytest; what the project adds by itself (coverage, processes side by side) is left out."""
    hidden: tuple[str, ...] = ()
    """Folders that are removed: the compiled project is installed, and they would be imported instead."""
    deselected: Mapping[str, str] = field(default_factory=dict)
    """Tests that are not run, and why."""
    differing: Mapping[str, str] = field(default_factory=dict)
    """Tests that may come out differently with the package, and why that is no fault."""
    quiet: tuple[str, ...] = ()
    """Loggers that the project's own runner silences."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the environment."""
    timeout_s: float = 1800.0

    @property
    def package(self) -> str:
        """As it is imported."""
        if self.name.startswith("opentelemetry-"):
            return self.name.replace("-", ".")
        return self.name.replace("-", "_")

    @property
    def requirement(self) -> str:
        """For pip."""
        return f"{self.name}=={self.version}"


ASGI = "tests/test_asgi_middleware.py::TestAsgiApplication"

EVENTS = "it counts the events of its span: a block in it is one more"

TEN_MS = (
    "it gives the application 10 ms: at 1 ms most of its first callbacks are looked at and reported meanwhile"
)

SUITES = (
    Suite(
        "uvloop",
        "0.23.0",
        ("aiohttp", "psutil", "pyOpenSSL", "pytest", "setuptools"),
        hidden=("uvloop",),
        deselected={"tests/test_sourcecode.py": "checks the style of the source"},
    ),
    Suite(
        "anyio",
        "4.16.0",
        (
            "blockbuster",
            "coverage",
            "hypothesis",
            "psutil",
            "pytest",
            "pytest-mock",
            "pytest-timeout",
            "trio",
            "trustme",
            "truststore",
            "uvloop",
        ),
    ),
    Suite(
        "starlette",
        "1.10.0",
        (
            "blockbuster",
            "httpx",
            "httpx2[zstd]",
            "importlib-metadata",
            "itsdangerous",
            "jinja2",
            "opentelemetry-sdk",
            "pytest",
            "pytest-codspeed",
            "python-multipart",
            "pyyaml",
            "trio",
        ),
        differing={
            f"tests/middleware/test_opentelemetry.py::test_http_span_records_server_error[{backend}]": EVENTS
            for backend in ("asyncio", "trio")
        },
    ),
    Suite(
        "uvicorn",
        "0.54.0",
        (
            "a2wsgi",
            "cryptography",
            "httptools",
            "httpx",
            "httpx2",
            "pytest",
            "pytest-codspeed",
            "pytest-mock",
            "python-dotenv",
            "pyyaml",
            "trustme",
            "uvloop",
            "watchfiles",
            "websockets",
            "wsproto",
            "zttp",
        ),
    ),
    Suite(
        "httpcore",
        "1.0.9",
        ("anyio", "h2", "hpack", "hyperframe", "pytest", "pytest-httpbin", "pytest-trio", "socksio", "trio"),
    ),
    Suite("asgiref", "3.13.0", ("packaging", "pytest", "pytest-asyncio")),
    Suite("janus", "2.0.0", ("pytest", "pytest-asyncio", "pytest-codspeed")),
    Suite("pytest-asyncio", "1.5.0", ("coverage", "hypothesis")),
    Suite(
        "hypercorn",
        "0.18.0",
        ("aioquic", "httpx", "pytest", "pytest-asyncio", "pytest-trio", "trio", "uvloop"),
    ),
    Suite(
        "aiohttp",
        "3.14.5",
        (
            "aiodns",
            "blockbuster",
            "brotli",
            "coverage",
            "freezegun",
            "gunicorn",
            "isal",
            "pkgconfig",
            "proxy.py >= 2.4.4rc5",
            "pytest",
            "pytest-codspeed",
            "pytest-cov",
            "pytest-mock",
            "pytest-timeout",
            "python-on-whales",
            "setuptools",
            "trustme",
            "uvloop",
            "zlib_ng",
        ),
        options=("-m", "not dev_mode and not autobahn and not internal"),
        hidden=("aiohttp",),
    ),
    Suite(
        "tornado",
        "6.6.1",
        ("pytest",),
        tests=("tornado/test",),
        options=("-o", "python_files=*_test.py"),
        quiet=("tornado.access",),
    ),
    Suite(
        "opentelemetry-instrumentation-asgi",
        "0.66b2",
        ("opentelemetry-test-utils", "pytest"),
        differing={
            f"{ASGI}::test_hook_exceptions": EVENTS,
            f"{ASGI}::test_user_agent_synthetic_bot_detection": TEN_MS,
        },
    ),
    Suite(
        "opentelemetry-instrumentation-fastapi",
        "0.66b2",
        ("fastapi", "httpx", "opentelemetry-test-utils", "pytest", "requests"),
        differing={
            f"tests/test_fastapi_instrumentation.py::TestTraceableExceptionHandling::{test}": EVENTS
            for test in (
                "test_error_handler_context",
                "test_exception_span_recording",
                "test_middleware_exceptions",
            )
        },
    ),
    Suite(
        "opentelemetry-instrumentation-asyncio",
        "0.66b1",
        ("opentelemetry-test-utils", "pytest"),
    ),
)
