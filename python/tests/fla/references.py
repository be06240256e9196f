"""flash-linear-attention's naive references, read from its wheel without installing it."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path

_CORE, _MODELS = "fla_core", "flash_linear_attention"
_VERSION = "0.6.0"
# Where the wheels are kept between runs.
_FOLDER = Path(os.environ.get("SWIFT_ATTENTION_TEST_CACHE", tempfile.gettempdir()))


@functools.lru_cache(maxsize=None)
def _wheel(package: str = _CORE) -> zipfile.ZipFile:
    path = _FOLDER / f"{package}-{_VERSION}-py3-none-any.whl"
    if not path.exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest",
             str(_FOLDER), f"{package}=={_VERSION}"],
            check=True)
    return zipfile.ZipFile(path)


@functools.lru_cache(maxsize=None)
def definitions() -> dict[str, ast.FunctionDef]:
    """The functions of `fla/ops` by their names; none is run."""
    found = {}
    for path in _wheel().namelist():
        if path.startswith("fla/ops/") and path.endswith(".py") and "backends" not in path:
            for node in ast.parse(_wheel().read(path)).body:
                if isinstance(node, ast.FunctionDef):
                    found[node.name] = node
    return found


def exported() -> list[str]:
    """The names that `fla.ops` exports."""
    for node in ast.parse(_wheel().read("fla/ops/__init__.py")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError("fla.ops has no __all__")


@functools.lru_cache(maxsize=None)
def naive(name: str) -> types.ModuleType:
    """The module `fla/ops/<name>.py` by itself, as `naive("gla/naive")`."""
    return _module(_CORE, f"fla/ops/{name}.py")


@functools.lru_cache(maxsize=None)
def models(name: str) -> types.ModuleType:
    """The module `fla/models/<name>.py` by itself; it needs transformers."""
    return _module(_MODELS, f"fla/models/{name}.py")


def _module(package: str, path: str) -> types.ModuleType:
    module = types.ModuleType("references." + path[:-len(".py")].replace("/", "."))
    exec(compile(_wheel(package).read(path), path, "exec"), module.__dict__)
    return module
