"""Runs a Python program with this package's kernels behind the frameworks that it imports.

    python -m swift_attention [--install transformers,torch] [--report] program.py arguments…
    python -m swift_attention -m module arguments…
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import List

from . import install, report

_USAGE = (
    "usage: python -m swift_attention [--install FRAMEWORK,…] [--report]"
    " (PROGRAM.py | -m MODULE) [ARGUMENT…]")


def main(arguments: List[str]) -> int:
    """Runs the program; returns 2 where none is named."""
    frameworks: List[str] = []
    reports = False
    while arguments and arguments[0].startswith("--"):
        option, *arguments = arguments
        if option == "--install" and arguments:
            named, *arguments = arguments
            frameworks = named.split(",")
        elif option == "--report":
            reports = True
        else:
            is_help = option == "--help"
            print(_USAGE if is_help else f"{option} is unknown or lacks its value\n{_USAGE}",
                  file=sys.stdout if is_help else sys.stderr)
            return 0 if is_help else 2
    is_module = arguments[:1] == ["-m"]
    program = arguments[is_module:]
    if not program:
        print(_USAGE, file=sys.stderr)
        return 2
    try:
        install(*frameworks)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    sys.argv = program
    try:
        if is_module:
            runpy.run_module(program[0], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(program[0]).resolve().parent)
            runpy.run_path(program[0], run_name="__main__")
    finally:
        if reports:
            print(report(), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
