"""Errors of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Union


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded.

    Attributes:
        file: The invalid file or folder.
        key: The key of the configuration, such as `layers.2.heads`, or the tensor's name; None if
            the file as a whole is invalid.
    """

    def __init__(self, file: Union[str, Path], reason: str, key: Optional[str] = None) -> None:
        self.file = str(file)
        self.key = key
        self.reason = reason
        super().__init__(self.file, reason, key)

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"

    def __reduce__(self):
        return type(self), (self.file, self.reason, self.key)
