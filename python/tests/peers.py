"""The packages that are compared with, from their sources alone."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from types import ModuleType

_COSINE = "flash_cosine_sim_attention"


def cosine(folder: Path, module: str = _COSINE) -> ModuleType:
    """A module of flash-cosine-sim-attention 0.1.40, without its compiled part."""
    sources = next(folder.glob("flash-cosine-sim-attention-*/"), None)
    assert sources is not None, f"{folder} has no flash-cosine-sim-attention"
    if str(sources) not in sys.path:
        sys.path.insert(0, str(sources))
    compiled = types.ModuleType(f"{_COSINE}_cuda_0_1_40")
    compiled.forward = compiled.backward = compiled.debug = None
    sys.modules.setdefault(compiled.__name__, compiled)
    return importlib.import_module(f"{_COSINE}.{module}")
