"""Errors as the functions raise them that stand in for others."""

from __future__ import annotations

import re
from typing import Callable, Mapping


class InvalidArgument(ValueError, RuntimeError):
    """An argument that does not fit the others; a RuntimeError as PyTorch's function raises it."""


class InvalidType(TypeError, RuntimeError):
    """An argument of a type that there is no attention of; a RuntimeError as above."""


def renamed(
    error: Exception, names: Mapping[str, str], kind: Callable[[str], Exception]
) -> Exception:
    """An error of this kind with `names` in place of those of the operator's arguments."""
    found = re.compile(rf"\b({'|'.join(names)})\b")
    message = found.sub(lambda name: names[name.group()], str(error))
    return kind(message).with_traceback(error.__traceback__)
