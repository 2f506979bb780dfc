"""``otel-loopblock run`` with real services under load, on both loops, in each way they are started."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from otel_loopblock.local.receiver import ReceiverProcess
from tests.run.running import APP, COMMAND, ROOT, Run, clean_environment, culprit, get, load

UVICORN = ["uvicorn", APP, "--port", "PORT", "--no-access-log"]

CONFIGURATION = """\
file_format: "1.0"
resource:
  attributes:
    - name: service.name
      value: from a file
tracer_provider:
  processors:
    - batch:
        schedule_delay: 200
        exporter:
          otlp_http:
            endpoint: {endpoint}/v1/traces
propagator:
  composite: [tracecontext: {{}}]
instrumentation/development:
  python:
    fastapi: {{}}
    loopblock: {{}}
"""


def check(report: dict, payments: int) -> dict:
    """The culprit's row, with all that it must say; on a busy machine one block may be named otherwise."""
    row = culprit(report, "charge_card")
    assert payments - 1 <= row["count"] <= payments
    assert report["blocks"] >= payments
    assert row["call"] == "time.sleep"
    assert row["place"].endswith("tests/run/service.py:16")
    assert "asyncio.sleep" in row["advice"]
    assert 0.11 < row["p50_s"] < 5
    assert row["delayed"] > 0
    assert row["taken_s"] > 0.1
    assert "/stock" in {route["route"] for route in report["routes"]}
    assert sum(report["lag"]["counts"]) > 0
    return row


def test_culprit_of_a_service_is_shown_with_those_that_waited(loop_kind, tmp_path):
    page = tmp_path / "page.html"
    with Run(tmp_path, [*UVICORN, "--loop", loop_kind], ["--html", str(page)]) as run:
        run.ready()
        load(run.port, 4)
        assert run.stop() == 0
    check(run.report(), 4)
    out, err = run.output()
    assert out == ""
    assert re.search(r"run: blocked \d+ ms: service\.py:16 service\.charge_card → time\.sleep \(", err)
    for title in ("What blocked the loop", "Who had to wait", "The loop's lag", "The longest block"):
        assert title in err
    assert "event_loop.blocked" in err
    assert "event loop blocked" not in err  # the package's own log line: it would be said twice
    text = page.read_text()
    assert "charge_card" in text
    assert "http://" not in text.replace(f"--port {run.port}", "")
    assert "<script" not in text


def test_reload(loop_kind, tmp_path):
    folder = tmp_path / "watched"
    folder.mkdir()
    with Run(tmp_path, [*UVICORN, "--loop", loop_kind, "--reload", "--reload-dir", str(folder)]) as run:
        run.ready()
        load(run.port)
        (folder / "new.py").write_text("")
        before = get(run.port, "/stock")
        deadline = time.monotonic() + 120
        while True:
            try:
                if get(run.port, "/stock") != before:
                    break
            except OSError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.2)
        load(run.port, 2)
        assert run.stop() == 0
    check(run.report(), 5)


def test_two_workers(loop_kind, tmp_path):
    with Run(
        tmp_path, [*UVICORN, "--loop", loop_kind, "--workers", "2", "--timeout-worker-healthcheck", "60"]
    ) as run:
        run.ready()
        workers: set[str] = set()
        payments = 0
        while len(workers) < 2:
            workers |= load(run.port)
            payments += 3
            assert payments < 60
        assert run.stop() == 0
    check(run.report(), payments)


@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_gunicorn(loop_kind, preload, tmp_path):
    kind = "UvicornWorker" if loop_kind == "uvloop" else "UvicornH11Worker"
    words = ["gunicorn", APP, "-k", f"uvicorn_worker.{kind}", "-w", "2", "-b", "127.0.0.1:PORT", *preload]
    with Run(tmp_path, words) as run:
        run.ready()
        load(run.port)
        assert run.stop() == 0
    check(run.report(), 3)


def test_service_with_a_collector_of_its_own_feeds_both(loop_kind, tmp_path):
    with ReceiverProcess() as collector:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
            "OTEL_SERVICE_NAME": "shop",
        }
        with Run(tmp_path, [*UVICORN, "--loop", loop_kind], environ=environ) as run:
            run.ready()
            load(run.port)
            assert run.stop() == 0
        spans, metrics = collector.spans(), collector.metrics("event_loop.block.duration")
    check(run.report(), 3)
    payments = [span for span in spans if span.name == "GET /pay"]
    assert len(payments) == 3
    assert all(span.events_named("event_loop.blocked") for span in payments)
    assert {span.resource["service.name"] for span in spans} == {"shop"}
    assert {metric.temporality for metric in metrics} == {"delta"}


def test_service_that_a_file_configures_feeds_both(loop_kind, tmp_path):
    pytest.importorskip("opentelemetry.configuration")
    file = tmp_path / "otel.yaml"
    with ReceiverProcess() as collector:
        file.write_text(CONFIGURATION.format(endpoint=collector.endpoint))
        environ = {"OTEL_CONFIG_FILE": str(file)}
        with Run(tmp_path, [*UVICORN, "--loop", loop_kind], environ=environ) as run:
            run.ready()
            load(run.port)
            assert run.stop() == 0
        spans = collector.spans()
    check(run.report(), 3)
    payments = [span for span in spans if span.name == "GET /pay"]
    assert len(payments) == 3
    assert all(span.events_named("event_loop.blocked") for span in payments)
    assert {span.resource["service.name"] for span in spans} == {"from a file"}


def test_application_that_sets_its_providers_in_code_feeds_both(loop_kind, tmp_path):
    with ReceiverProcess() as collector:
        words = ["uvicorn", "tests.run.own_providers:app", "--port", "PORT", "--loop", loop_kind]
        with Run(tmp_path, words, environ={"OF_TEST_ENDPOINT": collector.endpoint}) as run:
            run.ready()
            load(run.port)
            assert run.stop() == 0
        spans, metrics = collector.spans(), collector.metrics()
    check(run.report(), 3)
    payments = [span for span in spans if span.name == "GET /pay"]
    assert len(payments) == 3
    assert all(span.events_named("event_loop.blocked") for span in payments)
    assert {span.resource["service.name"] for span in spans} == {"set in code"}
    assert {"event_loop.block.duration", "app.requests"} <= {metric.name for metric in metrics}
    assert "Overriding" not in run.output()[1]


@pytest.mark.parametrize("words", [["-m", *UVICORN], ["opentelemetry-instrument", *UVICORN]])
def test_other_ways_to_start(words, tmp_path):
    with Run(tmp_path, words) as run:
        run.ready()
        load(run.port)
        assert run.stop() == 0
    check(run.report(), 3)


def test_program_without_a_server(loop_kind, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, sys, time\n"
        "async def main():\n    await asyncio.sleep(1)\n    time.sleep(0.3)\n    await asyncio.sleep(0.1)\n"
        "    print('done')\n    sys.exit(5)\n"
        f"loop = __import__({loop_kind!r}).new_event_loop()\n"
        "loop.run_until_complete(main())\n"
    )
    with Run(tmp_path, [str(program)]) as run:
        assert run.process.wait(120) == 5
    row = culprit(run.report(), "main")
    assert (row["count"], row["call"]) == (1, "time.sleep")
    assert run.output()[0] == "done\n"


def test_last_block_before_a_signal_is_sent(loop_kind, tmp_path):
    """uvicorn ends so: by the signal that it was told to end by, with no exit handler run."""
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, signal, time\n"
        "async def main():\n    await asyncio.sleep(0.3)\n    time.sleep(0.3)\n    await asyncio.sleep(0.1)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        f"loop = __import__({loop_kind!r}).new_event_loop()\n"
        "loop.run_until_complete(main())\n"
    )
    with Run(tmp_path, [str(program)]) as run:
        assert run.process.wait(120) == -signal.SIGTERM
    assert culprit(run.report(), "main")["count"] == 1


@pytest.mark.parametrize(("limit", "code"), [("50ms", 1), ("30s", 0)])
def test_fail_over(limit, code, tmp_path):
    with Run(tmp_path, UVICORN, ["--fail-over", limit]) as run:
        run.ready()
        load(run.port, 1)
        assert run.stop() == code
    assert ("is longer than --fail-over allows" in run.output()[1]) == bool(code)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_service_as_without_us(number, tmp_path):
    codes, outputs = [], []
    for wrapped in (False, True):
        folder = tmp_path / str(wrapped)
        folder.mkdir()
        with Run(folder, UVICORN, wrapped=wrapped) as run:
            run.ready()
            get(run.port, "/say")
            codes.append(run.stop(number))
            outputs.append(run.output())
    assert codes[0] == codes[1]
    assert outputs[0][0] == outputs[1][0]
    lines = outputs[1][1].splitlines()
    assert "INFO:     Application shutdown complete." in lines
    assert len([line for line in lines if line.startswith("INFO:")]) == len(outputs[0][1].splitlines())


def test_signal_that_comes_to_us_twice_at_once_is_one(tmp_path):
    """timeout(1) signals a process and then its group; two of them make uvicorn give up its clean end."""
    program = tmp_path / "program.py"
    program.write_text(
        "import signal, sys, time\n"
        "seen = []\n"
        "signal.signal(signal.SIGINT, lambda *_: seen.append(1))\n"
        "while not seen:\n    time.sleep(0.01)\n"
        "time.sleep(0.5)\n"
        "sys.exit(10 + len(seen))\n"
    )
    words = ["timeout", "--preserve-status", "-s", "INT", "5", *COMMAND, "--", str(program)]
    ended = subprocess.run(words, cwd=ROOT, env=clean_environment(), capture_output=True, timeout=120)
    assert ended.returncode == 11, ended.stderr.decode()


def test_service_that_crashes(tmp_path):
    with Run(tmp_path, UVICORN) as run:
        run.ready()
        with pytest.raises(OSError, match=r"Remote end closed|reset"):
            get(run.port, "/crash")
        assert run.process.wait(120) == 7
    assert run.report()["exit_code"] == 7


def alone_and_under_us(folder, words, port=0):
    """Exit code and standard error of a service that ends by itself, without us and under us."""
    found = []
    for wrapped in (False, True):
        place = folder / str(wrapped)
        place.mkdir()
        with Run(place, words, wrapped=wrapped, port=port) as run:
            found.append((run.process.wait(120), run.output()[1]))
    return found


def test_service_that_does_not_start(tmp_path):
    alone, ours = alone_and_under_us(tmp_path, ["uvicorn", "no_such_module:app"])
    assert ours[0] == alone[0] != 0
    assert alone[1] in ours[1]
    text = " ".join(ours[1].split())
    assert "The service ended by itself after" in text
    assert f"exit code {ours[0]}, before an event loop ran; its own output says why" in text


def test_port_that_is_taken(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        alone, ours = alone_and_under_us(tmp_path, UVICORN, taken.getsockname()[1])
    assert ours[0] == alone[0] != 0
    assert "address already in use" in ours[1]


def test_service_without_a_loop(tmp_path):
    words = [sys.executable, "-c", "print('no loop here')"]
    with Run(tmp_path, words) as run:
        assert run.process.wait(120) == 0
    out, err = run.output()
    assert out == "no loop here\n"
    assert "No asyncio or uvloop event loop ran in the service" in " ".join(err.split())


def test_service_that_is_not_python(tmp_path):
    with Run(tmp_path, ["sh", "-c", "echo hello; exit 3"]) as run:
        assert run.process.wait(120) == 3
    assert "No Python process of the service has reported" in run.output()[1]


def test_command_that_is_not_there():
    done = subprocess.run([*COMMAND, "--", "no-such-command"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "otel-loopblock run: no-such-command: not found, or not executable\n"


def test_nothing_of_the_service_is_left_in_the_environment_of_other_programs(tmp_path):
    """A process that the service starts with an environment of its own is not touched."""
    program = (
        "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', "
        "'import sys; sys.exit(sum(m.startswith(\"opentelemetry\") for m in sys.modules))'], "
        "env={}).returncode)"
    )
    with Run(tmp_path, [sys.executable, "-c", program]) as run:
        assert run.process.wait(120) == 0


def test_sitecustomize_of_the_user_still_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nprint('customized', sys.orig_argv[-1])")
    with Run(tmp_path, [sys.executable, "-c", "pass"], environ={"PYTHONPATH": str(tmp_path)}) as run:
        assert run.process.wait(120) == 0
    assert run.output()[0].splitlines().count("customized pass") == 2  # in our process, and in the service's


def test_runs_under_nohup(tmp_path):
    """Signals that we are told to ignore the service ignores as well."""
    done = subprocess.run(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *COMMAND, "--", sys.executable, "-c",
         "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"],
        capture_output=True, text=True, timeout=60, cwd=ROOT, env=clean_environment(),
    )  # fmt: skip
    assert done.stdout == "True\n"
