"""The compiled wheel in an environment of its own, whole and damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.wheels.conftest import SUFFIX, environment, run

BLOCKS = """
import asyncio, time
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otel_loopblock import LoopBlockInstrumentor, core

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
LoopBlockInstrumentor().instrument(tracer_provider=provider)

async def serve():
    with provider.get_tracer("test").start_as_current_span("request"):
        time.sleep(0.3)

asyncio.run(serve())
LoopBlockInstrumentor().uninstrument()
print(core.NAME, *(event.name for span in exporter.get_finished_spans() for event in span.events))
"""


class Installation:
    """A virtual environment with the wheel; what the package needs it has of this process."""

    def __init__(self, folder, wheel):
        self.bin = folder / "bin"
        done = run([sys.executable, "-m", "venv", "--without-pip", folder])
        assert done.returncode == 0, done.stdout
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.bin / "python"]
        done = run([*pip, "install", "--no-deps", "--no-index", wheel])
        assert done.returncode == 0, done.stdout
        [packages] = (folder / "lib").glob("*/site-packages")
        needed = [path for path in sys.path if path.endswith("-packages")]
        (packages / "needed.pth").write_text("\n".join(needed) + "\n")
        self.core = packages / "otel_loopblock" / "core" / f"_native{SUFFIX}"

    def say(self, command, *arguments, **variables):
        """The lines of its output and of its log."""
        done = subprocess.run(
            [self.bin / command, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment(**variables),
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), done.stderr.splitlines()


@pytest.fixture(scope="module")
def once_installed(compiled, tmp_path_factory):
    return Installation(tmp_path_factory.mktemp("installed") / "venv", compiled)


@pytest.fixture
def installed(once_installed):
    """For a test to damage; it is whole again afterwards."""
    content = once_installed.core.read_bytes()
    yield once_installed
    for path in once_installed.core.parent.glob("_native.*so"):
        path.unlink()
    once_installed.core.write_bytes(content)


def test_version_says_which_core_serves(installed):
    lines, log = installed.say("otel-loopblock", "--version")
    assert " ".join(lines).endswith(", native core")
    assert log == []
    lines, log = installed.say("otel-loopblock", "--version", OTEL_PYTHON_LOOPBLOCK_CORE="pure")
    assert " ".join(lines).endswith(", pure core: OTEL_PYTHON_LOOPBLOCK_CORE=pure asks for the twin")
    assert log == []


def empty(core: Path):
    core.write_bytes(b"")


def halve(core: Path):
    content = core.read_bytes()
    core.write_bytes(content[: len(content) // 2])


def rename(core: Path):
    core.rename(core.with_name("_native.cpython-39-x86_64-linux-gnu.so"))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (empty, "to import it raises ImportError: "),
        (halve, "has been cut off" if sys.platform == "linux" else "to import it raises ImportError: "),
        (rename, "_native.cpython-39-x86_64-linux-gnu.so is for another Python"),
    ],
)
def test_blocks_are_reported_with_a_damaged_core(installed, damage, why):
    damage(installed.core)
    [line], log = installed.say("python", "-c", BLOCKS)
    assert line == "pure event_loop.blocked"
    [warning] = [each for each in log if not is_a_block(each)]
    assert warning.startswith("The compiled core cannot be used: ")
    assert why in warning
    assert any("serve" in each for each in log if is_a_block(each))


def test_blocks_are_reported_with_a_whole_core(installed):
    [line], log = installed.say("python", "-c", BLOCKS)
    assert line == "native event_loop.blocked"
    assert all(is_a_block(each) for each in log), log
    assert any("serve" in each for each in log)


def is_a_block(line):
    """On a busy machine the loop is blocked by other things too."""
    return line.startswith("event loop blocked ")
