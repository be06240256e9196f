"""Builds the wheel, with the statically linked library of the package beside its Python files.

SWIFT_ATTENTION_LIBRARY names a library that is built already; otherwise Swift builds it, and says so
line by line: pip shows it with -v, and where the build fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

FOLDER = Path(__file__).resolve().parent
LIBRARY = "libswift_attention.so"


def say(message: str) -> None:
    """Prints what is done, at once: pip passes on whole lines as they come."""
    sys.stdout.flush()
    print(f"swift-attention: {message}", file=sys.stderr, flush=True)


def built_library() -> Path:
    """The library, built now where none is given."""
    given = os.environ.get("SWIFT_ATTENTION_LIBRARY")
    if given:
        say(f"packing {given}, which SWIFT_ATTENTION_LIBRARY names")
        return Path(given)
    if not (FOLDER.parent / "Package.swift").is_file() or shutil.which("swift") is None:
        raise SystemExit(
            "swift-attention is built by Swift 6.2 or later from a clone of its repository: install"
            " it from https://www.swift.org/install, or set SWIFT_ATTENTION_LIBRARY to a"
            f" {LIBRARY} that was built elsewhere")
    folder = FOLDER.parent / ".build"
    say(f"Swift builds {LIBRARY} into {folder}: two to four minutes on two cores, less where it has"
        " been built before")
    began = time.monotonic()
    command = ["swift", "build", "--configuration", "release", "--product", "swift_attention"]
    status = subprocess.run(command, cwd=FOLDER.parent, stdin=subprocess.DEVNULL).returncode
    if status != 0:
        raise SystemExit(
            f"swift-attention: {' '.join(command)} failed in {FOLDER.parent} (exit code {status});"
            " its messages are above")
    say(f"built after {time.monotonic() - began:.0f} s")
    return folder / "release" / LIBRARY


class BuildWithLibrary(build_py):
    """Python files, and the library with them."""

    def run(self) -> None:
        super().run()
        folder = FOLDER if self.editable_mode else Path(self.build_lib)
        target = folder / "swift_attention" / LIBRARY
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(built_library(), target)
        if shutil.which("strip") is not None:
            subprocess.run(["strip", target], check=True)


class WithBinary(Distribution):
    """Not of Python alone."""

    def has_ext_modules(self) -> bool:
        return True


class PlatformWheel(bdist_wheel):
    """For one platform, and every version of Python 3: nothing is compiled against it."""

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


setup(
    distclass=WithBinary, cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel})
