"""Forks processes from one that has everything imported: a fault costs a fraction of a second then."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]

TIMEOUT_S = 20.0
HUNG = "it hung"


class Job(NamedTuple):
    """One process."""

    function: str
    """``module:qualname`` of what breaks; empty: nothing does."""
    kind: str
    """What it raises."""
    when: str
    """``before`` we are instrumented, ``after`` that, or ``never`` for a run without us."""


@dataclass(frozen=True)
class Setting:
    """Where jobs are done."""

    core: str
    loop: str


class Server:
    """The process that forks: the only one that has imported the package.

    Args:
        setting: where.
        at_once: how many processes at a time.
    """

    def __init__(self, setting: Setting, at_once: int) -> None:
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.faults.server",
            setting.core,
            setting.loop,
            str(at_once),
        ]
        environ = {**os.environ, "OTEL_PYTHON_LOOPBLOCK_CORE": setting.core, "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def functions(self) -> list[str]:
        """All that there are."""
        return list(self._ask({"functions": True})[0])

    def reached(self) -> list[str]:
        """Those that are called where nothing breaks."""
        return list(self._ask({"reached": True})[0])

    def run(
        self, jobs: Sequence[Job], told: Callable[[], object] = lambda: None
    ) -> dict[Job, dict[str, Any]]:
        """Do the jobs; returns the outcome of each.

        Args:
            jobs: these.
            told: called after each.
        """
        found: dict[Job, dict[str, Any]] = {}
        for job, outcome in self._answers({"jobs": jobs}):
            found[Job(*job)] = outcome
            told()
        return found

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _ask(self, question: dict[str, Any]) -> list[Any]:
        return list(self._answers(question))

    def _answers(self, question: dict[str, Any]) -> Iterator[Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            answer = json.loads(line)
            if answer is None:
                return
            yield answer
        raise RuntimeError("the server of forks has ended")


# -- the process itself ---------------------------------------------------------------------------


class _Running(NamedTuple):
    job: Job
    folder: str
    until: float


class _Forks:
    def __init__(self, setting: Setting, at_once: int) -> None:
        import tests.faults.child  # noqa: F401
        from otel_loopblock import core
        from tests.faults import injection

        assert setting.core == core.NAME, core.WHY
        injection.load(setting.core)
        self._functions = {
            name: code
            for name, code in injection.functions().items()
            if setting.core == "pure" or not name.startswith("core.pure.")
        }
        self._known = injection.live()
        if setting.loop == "uvloop":
            import uvloop  # noqa: F401
        gc.collect()
        gc.freeze()  # what is there is not looked through in each process
        self._setting = setting
        self._at_once = at_once
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def serve(self) -> None:
        for line in sys.stdin:
            question = json.loads(line)
            if "functions" in question:
                self._answer(list(self._functions))
            elif "reached" in question:
                self._answer(self._reached())
            else:
                self._do([Job(*job) for job in question["jobs"]])
            self._answer(None)

    def _answer(self, answer: Any) -> None:
        print(json.dumps(answer), file=self._out, flush=True)

    def _do(self, jobs: list[Job]) -> None:
        left, running = jobs[::-1], dict[int, _Running]()
        while left or running:
            while left and len(running) < self._at_once:
                job, folder = left.pop(), tempfile.mkdtemp(prefix="faults-")
                running[self._fork(lambda job=job: self._outcome_of(job), folder)] = _Running(
                    job, folder, time.monotonic() + TIMEOUT_S
                )
            self._reap(running)

    def _reap(self, running: dict[int, _Running]) -> None:
        time.sleep(0.003)
        for pid, (job, folder, until) in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            hung = not ended and time.monotonic() > until
            if hung:
                os.kill(pid, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
            elif not ended:
                continue
            del running[pid]
            self._answer([job, _read(folder, None if hung else os.waitstatus_to_exitcode(status))])

    def _fork(self, do: Callable[[], str], folder: str) -> int:
        pid = os.fork()
        if pid:
            return pid
        for descriptor in (1, 2):
            os.dup2(os.open(os.path.join(folder, str(descriptor)), os.O_WRONLY | os.O_CREAT), descriptor)
        self._out.close()
        if os.environ.get("FAULTS_DUMP"):
            import faulthandler

            faulthandler.dump_traceback_later(TIMEOUT_S - 2)
        text = do()
        Path(folder, "outcome").write_text(text)
        sys.exit()

    def _outcome_of(self, job: Job) -> str:
        from tests.faults.child import Child, as_json
        from tests.faults.injection import KINDS, Fault

        code = self._functions.get(job.function)
        fault = Fault(code, KINDS[job.kind], self._known) if code is not None else None
        return as_json(Child(self._setting.loop, fault, job.when).run())

    # -- what is called at all ---------------------------------------------------------------------

    def _reached(self) -> list[str]:
        folder = tempfile.mkdtemp(prefix="faults-")
        pid = self._fork(self._profile, folder)
        os.waitpid(pid, 0)
        return list(json.loads(Path(folder, "outcome").read_text()))

    def _profile(self) -> str:
        from tests.faults.child import Child

        codes: set[CodeType] = set()

        def called(frame: Any, event: str, argument: Any) -> None:
            if event == "call":
                codes.add(frame.f_code)

        threading.setprofile(called)
        sys.setprofile(called)
        Child(self._setting.loop, None, "before").run()
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
        return json.dumps([name for name, code in self._functions.items() if code in codes])


def _read(folder: str, exit_code: int | None) -> dict[str, Any]:
    outcome: dict[str, Any] = {}
    if exit_code is not None:
        with contextlib.suppress(OSError, ValueError):
            outcome = json.loads(Path(folder, "outcome").read_text())
    outcome["exit_code"] = HUNG if exit_code is None else exit_code
    outcome["printed"] = "".join(Path(folder, name).read_text() for name in "12")
    for each in Path(folder).iterdir():
        each.unlink()
    os.rmdir(folder)
    return outcome


if __name__ == "__main__":
    _Forks(Setting(*sys.argv[1:3]), int(sys.argv[3])).serve()
