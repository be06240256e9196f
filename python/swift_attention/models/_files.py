"""Reading of files that may be damaged."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, Tuple

from ._errors import CheckpointError


def opened(path: Path) -> BinaryIO:
    """The open file, which must be regular: opening others could block for ever.

    Raises CheckpointError.
    """
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
    except OSError as error:
        raise CheckpointError(path, error.strerror or "cannot be read") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise CheckpointError(path, "is no file")
    return file


def size_of(file: BinaryIO) -> int:
    """The length in bytes."""
    return os.fstat(file.fileno()).st_size


def parsed(path: Path, text: bytes, what: str) -> Any:
    """Parses JSON in which no object repeats a key.

    Raises CheckpointError that names the file and the error.
    """
    def members(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))
            raise CheckpointError(path, f"{what} has the key {twice} twice", twice)
        return found

    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=members)
    except UnicodeDecodeError as error:
        raise CheckpointError(path, f"{what} is not UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise CheckpointError(path, f"{what} is no JSON: {place}: {error.msg}") from error
    except RecursionError as error:
        raise CheckpointError(path, f"{what} is nested too deep") from error
