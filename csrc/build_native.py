"""Builds `dumbkv._native`, the C table with both its doors, and the package around it.

This is the project's build backend: setuptools', with a `build_ext` that first lets
cffi write the module's C. The functions Python calls through cffi are the part of
`table.h` between its two markers; the type it calls directly comes with `pytable.c`,
compiled into the same module.

`DUMBKV_BUILD` says what to do about C: `auto` (the default) builds it and installs
without it when that fails, `c` fails the install then, `python` does not try.
"""

import os
from pathlib import Path

from cffi import FFI
from setuptools import Extension
from setuptools.build_meta import *  # noqa: F403  # the hooks of a build backend are setuptools'
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
# All of it is one unit: then the compiler may put one function into another, across files.
PREAMBLE = """
#include <structmember.h>
%s
#include "pytable.c"
"""


def mode() -> str:
    given = os.environ.get("DUMBKV_BUILD", "auto")
    if given not in ("auto", "c", "python"):
        raise SystemExit(f"DUMBKV_BUILD is {given!r}: expected 'auto', 'c' or 'python'")
    return given


def cdef() -> str:
    """The part of table.h that cffi reads."""
    return (HERE / "table.h").read_text().split("/* cdef begin */")[1].split("/* cdef end */")[0]


def ffi(sources: list[str]) -> FFI:
    builder = FFI()
    builder.cdef(cdef())
    included = "\n".join(f'#include "{Path(source).name}"' for source in sources)
    builder.set_source("dumbkv._native", PREAMBLE % included)
    return builder


class BuildExt(build_ext):  # type: ignore[misc]  # setuptools has no types
    """Builds the extension named in pyproject.toml, or goes on without it if it may."""

    def run(self) -> None:
        if mode() == "python":
            print("dumbkv: DUMBKV_BUILD=python, the table in pure Python will serve")
            return
        super().run()

    def build_extension(self, ext: Extension) -> None:
        generated = Path(self.build_temp) / "_native.c"
        generated.parent.mkdir(parents=True, exist_ok=True)
        ffi(ext.sources).emit_c_code(str(generated))
        ext.depends += ext.sources
        ext.sources = [str(generated)]
        ext.optional = False
        try:
            super().build_extension(ext)
        except Exception as error:
            if mode() == "c":
                raise
            print(f"dumbkv: the C table could not be built ({error})")
            print("dumbkv: the table in pure Python will serve; DUMBKV_BUILD=c requires C")
            self.extensions.remove(ext)
