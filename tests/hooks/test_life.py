"""Hooks come and go: what was there comes back, forks and dying loops are ordinary."""

from __future__ import annotations

import asyncio
import asyncio.events
import gc
import os
import ssl
import subprocess
import sys
import threading
import time
import weakref

import pytest
import trustme
import uvloop
from opentelemetry.sdk.trace import Span

from otel_loopblock import LoopBlockInstrumentor
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.watchdog import THREAD_NAME
from tests.conftest import LOOPS
from tests.service.running import ROOT

UVLOOP_NAMES = [
    "run_forever",
    "call_soon",
    "call_soon_threadsafe",
    "call_later",
    "call_at",
    "add_reader",
    "add_writer",
    "add_signal_handler",
    "create_server",
    "create_connection",
    "create_unix_server",
    "create_unix_connection",
    "create_datagram_endpoint",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "subprocess_exec",
    "subprocess_shell",
    "start_tls",
]


class Stalling(asyncio.Protocol):
    """Blocks in whichever of its methods is named."""

    def __init__(self, where, done):
        self.where, self.done = where, done

    def _stall(self, name):
        if self.where == name:
            time.sleep(0.05)

    def connection_made(self, transport):
        self.transport = transport
        self._stall("connection_made")

    def data_received(self, data):
        self._stall("data_received")

    def eof_received(self):
        self._stall("eof_received")

    def connection_lost(self, error):
        self._stall("connection_lost")
        if not self.done.done():
            self.done.set_result(None)


class Buffered(asyncio.BufferedProtocol):
    __slots__ = ("buffer", "done")

    def __init__(self, done):
        self.done = done
        self.buffer = bytearray(100)

    def get_buffer(self, hint):
        return self.buffer

    def buffer_updated(self, size):
        time.sleep(0.05)

    def connection_lost(self, error):
        self.done.set_result(None)


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, done):
        self.done = done

    def datagram_received(self, data, address):
        time.sleep(0.05)
        self.done.set_result(None)


class Output(asyncio.SubprocessProtocol):
    def __init__(self, done):
        self.done = done

    def pipe_data_received(self, fd, data):
        time.sleep(0.05)

    def process_exited(self):
        self.done.set_result(None)


def _names(telemetry):
    return [span.attributes["code.function.name"].rpartition(".")[2] for span in telemetry.spans()]


@pytest.mark.parametrize("where", ["connection_made", "data_received", "eof_received", "connection_lost"])
def test_block_in_a_server_protocol_is_seen(telemetry, run, where):
    telemetry.instrument()

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        server = await loop.create_server(lambda: Stalling(where, done), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        await asyncio.sleep(0.01)
        writer.close()
        await done
        server.close()

    run(main())

    # The innermost application frame is the helper that sleeps; its caller is in the stack.
    (span,) = telemetry.spans()
    assert f"in {where}\n" in span.attributes["code.stacktrace"]
    assert span.attributes["event_loop.block.call"] == "time.sleep"


def test_block_in_a_buffered_client_protocol_with_slots_is_seen(telemetry, run):
    telemetry.instrument()

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        async def serve(reader, writer):
            writer.write(b"x")
            await asyncio.sleep(0.02)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        await loop.create_connection(lambda: Buffered(done), *server.sockets[0].getsockname())
        await done
        server.close()

    run(main())

    assert _names(telemetry) == ["buffer_updated"]


def test_block_in_a_unix_protocol_is_seen(telemetry, run, tmp_path):
    telemetry.instrument()

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        path = str(tmp_path / "socket")
        server = await loop.create_unix_server(lambda: Stalling("data_received", done), path)
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x")
        await asyncio.sleep(0.01)
        writer.close()
        await done
        server.close()

    run(main())

    assert _names(telemetry) == ["_stall"]


@pytest.mark.parametrize("upgraded", [False, True])
def test_block_in_a_protocol_over_tls_is_seen(telemetry, run, upgraded):
    telemetry.instrument(threshold_ms=30)  # handshakes compute
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    asking = ssl.create_default_context()
    authority = trustme.CA()
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(asking)

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        async def talk(writer):
            if upgraded:
                await asyncio.sleep(0.05)
                await start_tls(loop, writer, asking)
            writer.write(b"x")
            await asyncio.sleep(0.1)
            writer.close()

        class Upgrading(Stalling):
            def connection_made(self, transport):
                if upgraded:
                    upgrade = loop.start_tls(transport, self, serving, server_side=True)
                    self.upgrade = loop.create_task(upgrade)

        server = await loop.create_server(
            lambda: Upgrading("data_received", done), "127.0.0.1", 0, ssl=None if upgraded else serving
        )
        secure = {} if upgraded else {"ssl": asking, "server_hostname": "localhost"}
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), **secure)
        await talk(writer)
        await done
        server.close()

    async def start_tls(loop, writer, context):
        transport = await loop.start_tls(
            writer.transport, writer.transport.get_protocol(), context, server_hostname="localhost"
        )
        writer._transport = transport

    run(main())

    (span,) = [span for span in telemetry.spans() if "in data_received" in span.attributes["code.stacktrace"]]
    assert span.attributes["event_loop.block.call"] == "time.sleep"


def test_block_in_a_datagram_protocol_is_seen(telemetry, run):
    telemetry.instrument()

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(done), ("127.0.0.1", 0))
        transport.sendto(b"x", transport.get_extra_info("sockname"))
        await done
        transport.close()

    run(main())

    assert _names(telemetry) == ["datagram_received"]


def test_block_in_a_subprocess_protocol_is_seen(telemetry, loop_kind):
    telemetry.instrument()

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        transport, _ = await loop.subprocess_exec(lambda: Output(done), sys.executable, "-c", "print(1)")
        await done
        await asyncio.sleep(0.1)
        transport.close()

    loop = LOOPS[loop_kind]()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main())
    loop.close()
    asyncio.set_event_loop(None)

    # Starting a process is itself slow enough to be reported on some machines.
    assert "pipe_data_received" in _names(telemetry)


def test_uninstrument_puts_back_the_very_objects(telemetry, run):
    before = {name: vars(uvloop.Loop).get(name) for name in UVLOOP_NAMES}
    handle_run, span_end, span_start = asyncio.Handle._run, Span.end, Span.start
    run_forever = asyncio.BaseEventLoop.run_forever
    received = vars(Stalling).get("data_received")
    collectors = list(gc.callbacks)
    telemetry.instrument()
    assert asyncio.Handle._run is not handle_run
    assert uvloop.Loop.call_soon is not before["call_soon"]
    assert asyncio.BaseEventLoop.run_forever is not run_forever
    test_block_in_a_server_protocol_is_seen(telemetry, run, "data_received")

    LoopBlockInstrumentor().uninstrument()

    assert asyncio.Handle._run is handle_run
    assert asyncio.BaseEventLoop.run_forever is run_forever
    assert Span.end is span_end
    assert Span.start is span_start
    assert {name: vars(uvloop.Loop).get(name) for name in UVLOOP_NAMES} == before
    assert vars(Stalling).get("data_received") is received
    assert gc.callbacks == collectors
    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
    assert loops.monitors() == []


def test_loop_goes_on_after_uninstrument_in_the_middle(telemetry, run):
    async def main():
        telemetry.instrument(heartbeat_interval_ms=10)
        await asyncio.sleep(0.03)
        LoopBlockInstrumentor().uninstrument()
        assert loops.of(asyncio.get_running_loop()) is None
        await asyncio.sleep(0.03)
        time.sleep(0.03)
        await asyncio.sleep(0)
        return "done"

    assert run(main()) == "done"
    assert telemetry.spans() == []


def test_task_that_failed_goes_as_early_as_without_us(telemetry, run):
    telemetry.instrument()
    told = []

    async def fail():
        raise ValueError

    async def main():
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: told.append(context["message"])
        )
        gc.disable()  # a cycle would be found
        try:
            asyncio.Task(fail())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return list(told)
        finally:
            gc.enable()

    assert run(main()) == ["Task exception was never retrieved"]


def test_monitor_dies_with_its_loop(telemetry, loop_kind):
    telemetry.instrument(heartbeat_interval_ms=10)
    loop = LOOPS[loop_kind]()
    loop.run_until_complete(asyncio.sleep(0.03))
    monitor = weakref.ref(loops.of(loop))
    loop.close()
    gone = weakref.ref(loop)
    del loop
    deadline = time.monotonic() + 10
    while gone() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.02)

    assert gone() is None
    assert loops.table == {}
    kept = monitor()  # by the core, until it has another one
    assert kept is None or (kept.state, kept.watch, kept.get_loop()) == ({}, None, None)


def test_loop_that_nothing_hooks_is_seen_by_the_watchdog(telemetry):
    class Unhooked(uvloop.loop.Loop, asyncio.AbstractEventLoop):
        """Built on the C class, past ``uvloop.Loop``."""

    telemetry.instrument()

    def stall():
        time.sleep(0.1)

    async def main():
        with telemetry.tracer.start_as_current_span("first"):
            await asyncio.sleep(0.01)  # a span that ends tells that this loop exists
        await asyncio.sleep(0.05)
        stall()
        await asyncio.sleep(0.05)

    loop = Unhooked()
    loop.run_until_complete(main())
    loop.close()

    (span,) = telemetry.spans("event_loop.blocked")
    assert span.attributes["code.function.name"].endswith("stall")
    assert span.attributes["event_loop.type"].endswith("Unhooked")
    assert span.attributes["event_loop.block.duration"] == pytest.approx(0.1, abs=0.06)


def test_forked_child_watches_its_own_loop(telemetry, loop_kind):
    telemetry.instrument()

    async def main():
        await asyncio.sleep(0.01)
        time.sleep(0.05)

    first = LOOPS[loop_kind]()
    first.run_until_complete(asyncio.sleep(0.01))
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            telemetry.exporter.clear()
            loop = LOOPS[loop_kind]()
            loop.run_until_complete(main())
            (span,) = telemetry.spans()
            os.write(writing, str(span.attributes.get("event_loop.block.call")).encode())
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 1000) == b"time.sleep"
    os.waitpid(pid, 0)
    os.close(reading)
    first.run_until_complete(main())  # the parent's loop is watched as before
    first.close()
    (span,) = telemetry.spans()
    assert span.attributes["event_loop.block.call"] == "time.sleep"


@pytest.mark.parametrize("block", ["while True: pass", "time.sleep(60)"])
def test_callback_that_never_ends_is_reported_while_it_lasts(telemetry, loop_kind, block):
    code = f"""
import asyncio, sys, time, uvloop
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from otel_loopblock import LoopBlockInstrumentor
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
LoopBlockInstrumentor().instrument(tracer_provider=provider, hang_after_ms=300)
tracer = provider.get_tracer("test")
async def hang():
    with tracer.start_as_current_span("GET /hang") as span:
        print("request", hex(span.context.span_id), flush=True)
        await asyncio.sleep(0.05)
        {block}
loop = uvloop.new_event_loop() if {loop_kind!r} == "uvloop" else asyncio.new_event_loop()
loop.run_until_complete(hang())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    timer = threading.Timer(60, process.kill)
    timer.start()
    output = ""
    for line in process.stdout:
        output += line
        if (
            output.count('"name": "event_loop.blocked"') >= 2
            and "}" in line
            and output.count("GET /hang: ") >= 2
        ):
            break
    alive = process.poll() is None
    process.kill()
    timer.cancel()
    process.communicate()

    assert alive, output
    assert "event loop still blocked after" in output
    assert "in GET /hang: <string>" in output or "hang" in output
    request = output.partition("request 0x")[2].split()[0]
    assert f'"parent_id": "0x{int(request, 16):016x}"' in output
    assert '"event_loop.block.ongoing": true' in output


@pytest.mark.parametrize("first", ["uvloop", "instrument"])
def test_uvloop_is_covered_whichever_is_imported_first(first):
    imports = ["import uvloop", "LoopBlockInstrumentor().instrument()"]
    if first == "instrument":
        imports.reverse()
    code = "\n".join(
        [
            "import logging; logging.basicConfig()",
            "import asyncio, time",
            "from otel_loopblock import LoopBlockInstrumentor",
            *imports,
            "async def main():",
            "    await asyncio.sleep(0.01); time.sleep(0.05)",
            "loop = uvloop.new_event_loop(); loop.run_until_complete(main()); loop.close()",
            "LoopBlockInstrumentor().uninstrument()",
        ]
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert "event loop blocked" in done.stderr, done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("missing", ["uvloop", "opentelemetry.sdk"])
def test_works_without(missing):
    code = "\n".join(
        [
            "import sys, logging; logging.basicConfig()",
            f"sys.modules[{missing!r}] = None",
            "import asyncio, time",
            "from otel_loopblock import LoopBlockInstrumentor",
            "LoopBlockInstrumentor().instrument()",
            "async def main():",
            "    await asyncio.sleep(0.01); time.sleep(0.05)",
            "asyncio.run(main())",
            "LoopBlockInstrumentor().uninstrument()",
        ]
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert "event loop blocked" in done.stderr, done.stderr
    assert "failed" not in done.stderr
    assert done.returncode == 0


def test_interpreter_ends_while_a_loop_is_blocked():
    code = """
import asyncio, threading, time
from otel_loopblock import LoopBlockInstrumentor
LoopBlockInstrumentor().instrument(heartbeat_interval_ms=5)
async def main():
    await asyncio.sleep(0.01)
    time.sleep(0.3)
threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
time.sleep(0.1)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
