"""What cannot be attached to, and what the command says then."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from otel_loopblock import cli
from otel_loopblock.attach import process, viewer
from otel_loopblock.attach.process import CannotAttach
from tests.attach.running import ASKS, Service, Viewer, refused
from tests.run.running import ROOT, clean_environment

NO_LOOP = "import tests.attach.service, time\nprint('ready', flush=True)\nwhile True: time.sleep(0.02)\n"


class Other:
    """A process that is no service."""

    def __init__(self, *command, environ=None, **options):
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**clean_environment(), **(environ or {})},
            **options,
        )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def ready(self):
        assert self.process.stdout.readline() == "ready\n"
        return self


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: PID"),
        (["x"], "'x' is not the number of a process"),
        (["0"], "'0' is not the number of a process"),
        (["1", "--for", "0"], "'0' is not a number of seconds above 0"),
        (["1", "--threshold-ms", "none"], "threshold_ms='none' cannot be used"),
        (["1", "--option", "threshold_ms"], "'threshold_ms' is not NAME=VALUE"),
        (["1", "--option", "treshold_ms=5"], "did you mean 'threshold_ms'?"),
        (["1", "--path", "/no/such"], "'/no/such' has no otel_loopblock that can attach"),
    ],
)
def test_wrong_usage_is_explained(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["attach", *arguments])
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_no_such_process():
    with Other("true") as other:
        other.process.wait()
    with pytest.raises(CannotAttach, match=rf"^there is no process {other.pid}$"):
        process.check(other.pid)


def test_command_itself():
    with pytest.raises(CannotAttach, match="is this very command"):
        process.check(os.getpid())


def test_not_a_python():
    with Other("sleep", "60") as other, pytest.raises(CannotAttach, match=r"is no Python: it runs /.*sleep"):
        process.check(other.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start one")
def test_process_of_another_user():
    with Other("sleep", "60", user=65534) as other, pytest.raises(CannotAttach) as refusal:
        process.check(other.pid)
    assert "belongs to another user, nobody: run this command as that user" in str(refusal.value)


def test_version_of_this_very_python_is_found():
    with Other(sys.executable, "-c", "print('ready', flush=True)\nwhile True: pass") as other:
        other.ready()
        assert process.python_version(process.PROC / str(other.pid)) == sys.version_info[:2]
        assert process.python_version(process.PROC / "1/nothing") is None


def test_older_python(monkeypatch):
    monkeypatch.setattr(process, "FIRST", (3, 99))
    with Other(sys.executable, "-c", "print('ready', flush=True)\nwhile True: pass") as other:
        other.ready()
        with pytest.raises(CannotAttach) as refusal:
            process.check(other.pid)
    version = ".".join(map(str, sys.version_info[:2]))
    assert f"process {other.pid} runs Python {version}: only from 3.99 on" in str(refusal.value)


@pytest.mark.skipif(ASKS, reason="of a command on a Python before 3.14")
def test_command_on_an_older_python_refuses_before_it_asks():
    with Other(sys.executable, "-c", "print('ready', flush=True)\nwhile True: pass") as other:
        other.ready()
        assert cli.main(["attach", str(other.pid)]) == 1


def test_command_on_another_python_says_which_one_it_takes(monkeypatch):
    monkeypatch.setattr(process, "python_version", lambda folder: (3, 98))
    with Other(sys.executable, "-c", "print('ready', flush=True)\nwhile True: pass") as other:
        other.ready()
        with pytest.raises(CannotAttach) as refusal:
            process.check(other.pid)
        executable = os.readlink(f"/proc/{other.pid}/exe")
    own = ".".join(map(str, sys.version_info[:2]))
    assert str(refusal.value) == (
        f"this command runs on Python {own}, it takes 3.98: {executable} -m otel_loopblock.cli attach "
        f"{other.pid}, where otel-loopblock[run] is installed"
    )


@pytest.mark.skipif(not ASKS, reason="from Python 3.14 on")
def test_another_python_that_is_really_there():
    minor = {14: 15}.get(sys.version_info[1], 14)
    path = shutil.which(f"python3.{minor}")
    if path is None:
        pytest.skip(f"there is no Python 3.{minor} here")
    with Other(path, "-c", "print('ready', flush=True)\nwhile True: pass") as other:
        other.ready()
        with pytest.raises(CannotAttach, match=rf"it takes 3\.{minor}: /.*python3\.{minor} -m otel"):
            process.check(other.pid)


def test_no_loop_in_it(tmp_path):
    service = Service.__new__(Service)
    service.wanted = tmp_path / "wanted"
    with Other(sys.executable, "-c", NO_LOOP, environ={"WANTED": str(service.wanted)}) as other:
        other.ready()
        code, text = refused(str(other.pid), service=service, folder=tmp_path)
    assert code == 1
    assert text == (
        f"otel-loopblock attach: process {other.pid}: no event loop runs in it: nothing can be blocked\n"
    )
    assert sorted(os.listdir(tmp_path)) == [] if ASKS else ["wanted"]


@pytest.mark.skipif(not ASKS, reason="from Python 3.14 on")
def test_remote_debugging_switched_off(tmp_path):
    with Service(tmp_path, "asyncio", {"PYTHON_DISABLE_REMOTE_DEBUG": "1"}) as service:
        code, text = refused(str(service.pid), service=service, folder=tmp_path)
    assert code == 1
    assert "has remote debugging switched off: it was started with PYTHON_DISABLE_REMOTE_DEBUG" in text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            RuntimeError("Remote debugging is not enabled in the remote process"),
            "remote debugging switched off",
        ),
        (PermissionError(1, "Operation not permitted"), "does not let this command look into process 1"),
        (RuntimeError("no idea"), "cannot be asked to run anything: no idea"),
        (ProcessLookupError(), "has ended"),
    ],
)
def test_words_of_python_become_those_of_a_user(error, told):
    assert told in process.why_not(error, 1)


def test_package_that_the_process_cannot_read(tmp_path):
    (tmp_path / "old/otel_loopblock/attach").mkdir(parents=True)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Refuse:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'otel_loopblock': raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
    )
    with Service(tmp_path, "asyncio", {"PYTHONPATH": str(tmp_path)}) as service:
        before = service.state()
        folder = str(tmp_path / "old")
        code, text = refused(str(service.pid), "--path", folder, service=service, folder=tmp_path)
        assert service.settled(before) == before
    assert code == 1
    assert f"it cannot read {folder}/otel_loopblock, and has no otel_loopblock of its own: see --path" in text


def test_command_of_another_version(tmp_path):
    package = tmp_path / "old/otel_loopblock"
    shutil.copytree(
        ROOT / "otel_loopblock", package, ignore=shutil.ignore_patterns("__pycache__", "demo", "bench")
    )
    (package / "version.py").write_text('__version__ = "0.0.1"\n')
    with Service(tmp_path, "asyncio") as service:
        code, text = refused(
            str(service.pid), "--path", str(tmp_path / "old"), service=service, folder=tmp_path
        )
    assert code == 1
    assert "the process has otel_loopblock 0.0.1 loaded" in text


def can_unshare():
    return os.geteuid() == 0 and not subprocess.call(
        ["unshare", "--mount", "true"], stderr=subprocess.DEVNULL
    )


@pytest.mark.skipif(not can_unshare(), reason="no process with other files can be made here")
def test_process_that_sees_other_files(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    script = 'mount -t tmpfs none "$0" && mount -t tmpfs none /tmp && echo ready && exec sleep 60'
    with Other("unshare", "--mount", "sh", "-c", script, str(tmp_path)) as other:
        other.ready()
        plan = viewer.Plan(pid=other.pid, options={}, seconds=1.0, keep=False, package=None)
        with pytest.raises(CannotAttach, match="sees other files than this command"):
            viewer.watch(plan, lambda pid, script: pytest.fail("it was asked"))
    assert os.listdir(tmp_path) == []


@pytest.fixture
def temporary(monkeypatch):
    """A folder for temporary files; its path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr("tempfile.tempdir", None)
        yield folder


def test_idle_process_is_waited_for_and_leaves_nothing_when_it_comes_by_later(temporary, monkeypatch, capsys):
    monkeypatch.setattr(viewer, "PATIENCE_S", 0.6)
    monkeypatch.setattr(viewer, "SAID_S", 0.2)
    asked = []
    with Other("sleep", "60") as other:
        plan = viewer.Plan(pid=other.pid, options={}, seconds=1.0, keep=False, package=None)
        with pytest.raises(CannotAttach, match="has run no Python code in its main thread for"):
            viewer.watch(plan, lambda pid, script: asked.append(script))
    assert "its main thread is idle, or in a call that does not come back" in capsys.readouterr().err
    assert len(os.listdir(temporary)) == 1
    with open(asked[0]) as script:
        exec(compile(script.read(), "script", "exec"), {})
    assert os.listdir(temporary) == []


def test_process_that_comes_by_when_nobody_waits_takes_the_folder_away(temporary):
    from otel_loopblock.attach.script import Meeting

    meeting = Meeting()
    assert meeting.folder.stat().st_mode & 0o777 == 0o700
    source = meeting.script.read_text()
    meeting.socket.close()  # as when the command was killed
    before = threading.active_count()
    exec(compile(source, "script", "exec"), {})
    deadline = time.monotonic() + 10
    while os.listdir(temporary) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert os.listdir(temporary) == []
    assert threading.active_count() == before


def test_loop_that_is_blocked_already_is_said_to_be(loop_kind, tmp_path):
    if not ASKS:
        pytest.skip("only between two instructions of Python is the script run: a sleep is one")
    with Service(tmp_path, loop_kind) as service:
        client = threading.Thread(target=_get_quietly, args=(service, "/spin"))
        client.start()
        time.sleep(0.5)
        view = Viewer(service, tmp_path)
        try:
            view.until("a loop does not come back just now: ")
            assert "service.spin" in view.text()
        finally:
            (tmp_path / "wanted.over").touch()
            client.join()
        service.get("/block/0.1")
        view.until("charge_card")  # it is watched from then on
        assert view.end(signal.SIGINT) == 0


def _get_quietly(service, path):
    with contextlib.suppress(OSError):
        service.get(path)
