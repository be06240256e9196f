"""Errors with the types that the replaced functions raise."""

from __future__ import annotations

import re
from typing import Callable, Mapping


class InvalidArgument(ValueError, RuntimeError):
    """An invalid argument; a RuntimeError too, as PyTorch's function raises it."""


class InvalidType(TypeError, RuntimeError):
    """An argument of an unsupported type; a RuntimeError too, as above."""


def renamed(
    error: Exception, names: Mapping[str, str], kind: Callable[[str], Exception]
) -> Exception:
    """An error of this kind with `names` in place of the operator's argument names."""
    found = re.compile(rf"\b({'|'.join(names)})\b")
    message = found.sub(lambda name: names[name.group()], str(error))
    return kind(message).with_traceback(error.__traceback__)
