"""flash-linear-attention's naive references, read from its wheel without installing it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path

_REQUIREMENT = "fla-core==0.6.0"
_WHEEL = "fla_core-0.6.0-py3-none-any.whl"
# Where the wheel is kept between runs.
_FOLDER = Path(os.environ.get("SWIFT_ATTENTION_TEST_CACHE", tempfile.gettempdir()))


@functools.lru_cache(maxsize=None)
def _wheel() -> zipfile.ZipFile:
    path = _FOLDER / _WHEEL
    if not path.exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest",
             str(_FOLDER), _REQUIREMENT],
            check=True)
    return zipfile.ZipFile(path)


@functools.lru_cache(maxsize=None)
def naive(name: str) -> types.ModuleType:
    """The module `fla/ops/<name>.py` by itself, as `naive("gla/naive")`."""
    source = _wheel().read(f"fla/ops/{name}.py")
    module = types.ModuleType("references." + name.replace("/", "."))
    exec(compile(source, f"fla/ops/{name}.py", "exec"), module.__dict__)
    return module
