"""Builds the compiled core where there is a C compiler; everything else is in pyproject.toml.

OTEL_LOOPBLOCK_BUILD at build time: ``require`` makes a core that cannot be built an error, and its warnings
too; ``skip`` builds none. Without it there is one where it can be built, and else the twin in Python is used.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, CompileError

NATIVE = Path("otel_loopblock", "core", "native")
FLAGS = ["-std=c11", "-O3", "-fvisibility=hidden"]
STRICT = ["-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-Wno-cast-function-type"]
CHOICES = ("require", "skip")

choice = os.environ.get("OTEL_LOOPBLOCK_BUILD", "")
if choice and choice not in CHOICES:
    raise SystemExit(f"OTEL_LOOPBLOCK_BUILD={choice!r} cannot be used: allowed are {' and '.join(CHOICES)}")


def may_build() -> bool:
    """Whether the C sources are for this Python: CPython with a GIL, not on Windows."""
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    return sys.implementation.name == "cpython" and not free_threaded and sys.platform != "win32"


if choice == "require" and not may_build():
    raise SystemExit("OTEL_LOOPBLOCK_BUILD=require cannot be met: the compiled core is not for this Python")


class Core(build_ext):
    """Builds the core anew, whatever an earlier build left: that may be of other sources."""

    def run(self) -> None:
        """Build, and take away the old core in the source tree if there is no new one."""
        super().run()
        for built, in_place in self.get_output_mapping().items():
            if not Path(built).exists():
                Path(in_place).unlink(missing_ok=True)

    def build_extension(self, ext: Extension) -> None:
        """Build it; a compiler that makes nothing has failed, whatever it says."""
        built = Path(self.get_ext_fullpath(ext.name))
        built.unlink(missing_ok=True)
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError) as error:
            raise CompileError(f"the compiled core cannot be built: {error}") from error
        if not built.exists():
            raise CompileError("the compiled core cannot be built: the compiler made no file")


class Wheel(bdist_wheel):
    """A wheel for every Python where no core was built."""

    def run(self) -> None:
        """Build, and look at what came of it."""
        self.run_command("build")
        built = self.get_finalized_command("build_ext")
        if not any(Path(name).exists() for name in built.get_outputs()):
            self.distribution.ext_modules = []
            self.root_is_pure = True
        super().run()


core = Extension(
    "otel_loopblock.core._native",
    sources=[str(path) for path in sorted(NATIVE.glob("*.c"))],
    depends=[str(path) for path in sorted(NATIVE.glob("*.h"))],
    extra_compile_args=FLAGS + (STRICT if choice == "require" else []),
    optional=choice != "require",
)

setup(
    ext_modules=[core] if choice != "skip" and may_build() else [],
    cmdclass={"build_ext": Core, "bdist_wheel": Wheel},
)
