"""Builds the compiled core into a folder: ``python -m tests.core.build FOLDER``. Warnings are errors."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension
from setuptools.dist import Distribution

SOURCES = Path(__file__).resolve().parents[2] / "otel_loopblock" / "core" / "native"
FLAGS = [
    "-std=c11",
    "-O3",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-missing-field-initializers",
    "-Wno-cast-function-type",
    "-fvisibility=hidden",
]


def main(folder: str) -> None:
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    extension = Extension("_core", sources, depends=[], extra_compile_args=FLAGS)
    distribution = Distribution({"name": "core", "ext_modules": [extension]})
    command = distribution.get_command_obj("build_ext")
    command.build_lib = folder
    command.build_temp = str(Path(folder, "objects"))
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    main(sys.argv[1])
