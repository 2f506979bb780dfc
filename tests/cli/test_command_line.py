"""The command line before any subcommand: what it imports, and what it says when something is missing."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from otel_loopblock import cli, core
from otel_loopblock.version import __version__


@pytest.fixture
def greet(monkeypatch):
    """A subcommand ``greet`` that returns its ``--code``."""

    def add_parser(subparsers):
        parser = subparsers.add_parser("greet")
        parser.add_argument("--code", type=int, default=0)
        parser.set_defaults(run=lambda args: args.code)

    module = types.ModuleType("otel_loopblock.cli.greet")
    module.add_parser = add_parser
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def register(**options):
        monkeypatch.setattr(cli, "SUBCOMMANDS", {"greet": cli.Subcommand(help="say hello", **options)})

    return register


def test_version_is_printed_without_importing_a_subcommand_or_opentelemetry():
    script = (
        "import sys\nfrom otel_loopblock.cli import SUBCOMMANDS, main\n"
        "try:\n    main(['--version'])\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = [n for n in ('rich', 'fastapi', 'httpx', 'opentelemetry.sdk') if n in sys.modules]\n"
        "heavy += [n for n in SUBCOMMANDS if 'otel_loopblock.cli.' + n in sys.modules]\n"
        "print(code, heavy)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    version, imported = done.stdout.splitlines()
    assert version.startswith(f"otel-loopblock {__version__}, {core.NAME} core"), done.stderr
    assert imported == "0 []"


@pytest.mark.parametrize("name", sorted(cli.SUBCOMMANDS))
def test_every_subcommand_has_help_without_its_extra(name):
    script = (
        "import sys\nfrom otel_loopblock import cli\n"
        "for subcommand in cli.SUBCOMMANDS.values():\n"
        "    for missing in subcommand.needs:\n        sys.modules[missing] = None\n"
        f"cli.main([{name!r}, '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"otel-loopblock {name}" in done.stdout


def test_exit_code_is_that_of_the_subcommand(greet):
    greet()
    assert cli.main(["greet", "--code", "7"]) == 7


def test_missing_extra_is_one_line_that_says_what_to_install(greet, capsys):
    greet(extra="demo", needs=("json", "no_such_module_a", "no_such_module_b.inner"))
    assert cli.main(["greet"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "otel-loopblock greet: no_such_module_a, no_such_module_b.inner not installed; "
        "pip install 'otel-loopblock[demo]', or in a clone pip install '.[demo]'\n"
    )


def test_help_lists_a_subcommand_whose_extra_is_missing(greet, capsys):
    greet(extra="demo", needs=("no_such_module",))
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    assert end.value.code == 0
    assert "say hello (extra: demo)" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["dance"]])
def test_no_or_unknown_subcommand_is_a_usage_error(arguments, greet, capsys):
    greet()
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert "usage: otel-loopblock" in capsys.readouterr().err


def test_interrupt_is_an_exit_code_and_no_traceback(greet, monkeypatch):
    greet()
    module = sys.modules["otel_loopblock.cli.greet"]

    def interrupted(args):
        raise KeyboardInterrupt

    def add_parser(subparsers):
        subparsers.add_parser("greet").set_defaults(run=interrupted)

    monkeypatch.setattr(module, "add_parser", add_parser)
    assert cli.main(["greet"]) == 130
