"""The start-up of real servers: what blocks it is said to be start-up, and the log does not warn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import hypercorn.asyncio
import hypercorn.config
import pytest
import uvicorn
from aiohttp import web
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_loopblock import core as active
from tests.service.asgi_app import BLOCK_S, app, ends, handles, starts
from tests.service.running import ROOT, free_port


async def ask(port):
    """Ask once the server listens, by itself; what it says."""
    deadline = time.monotonic() + 20
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except OSError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    said = await reader.read()
    writer.close()
    assert b"done" in said


async def uvicorn_server(port):
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="on"))
    server.capture_signals = contextlib.nullcontext
    serving = asyncio.ensure_future(server.serve())
    await ask(port)
    server.should_exit = True
    await serving


async def hypercorn_server(port):
    config, done = hypercorn.config.Config(), asyncio.Event()
    config.bind, config.errorlog = [f"127.0.0.1:{port}"], None
    serving = asyncio.ensure_future(hypercorn.asyncio.serve(app, config, shutdown_trigger=done.wait))
    await ask(port)
    done.set()
    await serving


async def aiohttp_server(port):
    async def handler(request):
        handles()
        return web.Response(text="done")

    async def at_start(app):
        starts()

    async def at_end(app):
        ends()

    server = web.Application()
    server.router.add_get("/", handler)
    server.on_startup.append(at_start)
    server.on_cleanup.append(at_end)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await ask(port)
    await runner.cleanup()


SERVERS = {"uvicorn": uvicorn_server, "hypercorn": hypercorn_server, "aiohttp": aiohttp_server}


@pytest.mark.parametrize("server", sorted(SERVERS))
def test_block_of_the_lifespans_start_up_is_start_up_and_no_other_is(telemetry, run, caplog, server):
    caplog.set_level(logging.INFO, "otel_loopblock")
    telemetry.instrument(threshold_ms=BLOCK_S * 1000 / 2)

    run(SERVERS[server](free_port()))

    spans = telemetry.spans("event_loop.blocked")
    phases = {
        span.attributes["code.function.name"].rpartition(".")[2]: span.attributes.get(
            "event_loop.block.phase"
        )
        for span in spans
    }
    found = {name: phases.get(name, "not seen") for name in ("starts", "handles", "ends")}
    assert found == {"starts": "startup", "handles": None, "ends": None}
    measured = {
        point.attributes["code.function.name"].rpartition(".")[2]: point.attributes.get(
            "event_loop.block.phase"
        )
        for point in telemetry.points("event_loop.block.duration")
    }
    # Metrics name what nearly all looks share: where one came late, that is the function around it.
    in_both = found.keys() & measured.keys()
    assert len(in_both) >= 2
    assert {name: measured[name] for name in in_both} == {name: found[name] for name in in_both}
    lines = [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if "asgi_app" in record.getMessage()
    ]
    levels = {
        re.search(r"(starts|handles|ends) →", line)[1]: level
        for level, line in lines
        if "→ time.sleep" in line
    }
    assert levels == {"starts": "INFO", "handles": "WARNING", "ends": "WARNING"}


def test_server_is_starting_until_it_is_asked_and_what_runs_in_the_background_is_not(
    telemetry, run, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "otel_loopblock")
    tests_own = str(ROOT / "tests" / "service")
    telemetry.instrument(threshold_ms=BLOCK_S * 1000 / 2, app_paths=[tests_own])

    def slow(*args, **kwargs):
        time.sleep(BLOCK_S)
        return ""

    async def main(port):
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
        server.capture_signals = contextlib.nullcontext
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(uvicorn.server, "formatdate", slow)
        await asyncio.ensure_future(server.on_tick(0))
        starts()
        await asyncio.sleep(0)
        await ask(port)
        await asyncio.ensure_future(server.on_tick(0))
        server.should_exit = True
        await serving

    run(main(free_port()))

    spans = telemetry.spans("event_loop.blocked")
    spans.sort(key=lambda span: span.start_time)
    found = {"slow": [], "starts": []}
    for span in spans:
        for name, phases in found.items():
            if f" in {name}\n" in span.attributes["code.stacktrace"]:
                phases.append(span.attributes.get("event_loop.block.phase"))
    assert found["slow"][0] == "startup"
    assert found["slow"][-1] is None
    assert found["starts"] == [None]


def test_program_that_is_no_server_has_no_start_up(telemetry, run, caplog):
    telemetry.instrument(threshold_ms=BLOCK_S * 1000 / 2)

    async def main():
        starts()

    run(main())

    (span,) = telemetry.spans("event_loop.blocked")
    assert span.attributes["code.function.name"] == "tests.service.asgi_app.starts"
    assert "event_loop.block.phase" not in span.attributes
    assert "WARNING" in [record.levelname for record in caplog.records]


def test_log_event_of_start_up_is_no_warning(telemetry, run):
    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    telemetry.instrument(threshold_ms=BLOCK_S * 1000 / 2, report="log", logger_provider=provider)

    run(uvicorn_server(free_port()))

    telemetry.spans()
    severities = {
        each.log_record.attributes["code.function.name"].rpartition(".")[2]: each.log_record.severity_text
        for each in exporter.get_finished_logs()
    }
    assert (severities["starts"], severities["handles"]) == ("INFO", "WARN")


@pytest.mark.parametrize(("core", "flags"), [("native", ()), ("pure", ()), ("native", ("--workers", "2"))])
def test_server_starts_without_a_warning_and_its_first_request_is_warned_about(
    loop_kind, core, flags, tmp_path
):
    if core == "native" and active.NAME != "native":
        pytest.skip("the compiled core is not built")
    port, said = free_port(), tmp_path / "said"
    command = ["opentelemetry-instrument", sys.executable, "-m", "uvicorn", "tests.service.asgi_app:app"]
    command[0] = str(Path(sys.executable).with_name(command[0]))
    command += ["--port", str(port), "--loop", loop_kind, "--log-level", "warning", *flags]
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    with said.open("w") as written:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=written,
            stderr=subprocess.STDOUT,
            env={**os.environ, **none, "OTEL_PYTHON_LOOPBLOCK_CORE": core},
        )
        try:
            deadline = time.monotonic() + 40
            while "handles" not in said.read_text():
                assert time.monotonic() < deadline, said.read_text()
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
                time.sleep(0.05)
        finally:
            server.terminate()
            server.wait(20)
    # Up to the request; a machine that stands still is nobody's fault.
    lines = [line for line in said.read_text().splitlines() if "event loop" in line]
    until = next(n for n, line in enumerate(lines) if "handles" in line)
    assert [line for line in lines[:until] if "(descheduled)" not in line] == []
