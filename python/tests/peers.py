"""The packages used for comparison, from their sources alone."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tarfile
import tempfile
import types
from pathlib import Path
from types import ModuleType

import pytest

_COSINE = "flash_cosine_sim_attention"
_REQUIREMENT = "flash-cosine-sim-attention==0.1.40"
_SOURCES = "flash-cosine-sim-attention-0.1.40"
# Where the sources are kept between runs.
_FOLDER = Path(os.environ.get("SWIFT_ATTENTION_TEST_CACHE", tempfile.gettempdir()))


def cosine(module: str = _COSINE) -> ModuleType:
    """A module of flash-cosine-sim-attention 0.1.40, without its compiled part.

    Skipped if it cannot be downloaded, except in CI.
    """
    sources = _FOLDER / _SOURCES
    if not sources.exists():
        archive = _FOLDER / f"{_SOURCES}.tar.gz"
        if not archive.exists():
            # pip runs its setup.py to download it, which imports PyTorch: not in isolation.
            download = subprocess.run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                 "--no-build-isolation", "--no-binary", ":all:", "--dest", str(_FOLDER),
                 _REQUIREMENT], capture_output=True, text=True)
            if download.returncode:
                message = f"{_REQUIREMENT} cannot be downloaded: {download.stderr[-400:]}"
                assert "CI" not in os.environ, message
                pytest.skip(message)
        with tarfile.open(archive) as file:
            file.extractall(_FOLDER)
    if str(sources) not in sys.path:
        sys.path.insert(0, str(sources))
    compiled = types.ModuleType(f"{_COSINE}_cuda_0_1_40")
    compiled.forward = compiled.backward = compiled.debug = None
    sys.modules.setdefault(compiled.__name__, compiled)
    return importlib.import_module(f"{_COSINE}.{module}")
