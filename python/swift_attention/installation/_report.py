"""What ran where, and why."""

from __future__ import annotations

import re
import threading
import warnings
from typing import Callable, Dict, List, NamedTuple, Tuple

from torch.compiler import is_compiling

OWN = "swift_attention"


class Refusal(ValueError):
    """A call that the kernels do not take; the message says why."""


class Entry(NamedTuple):
    """Calls of one function that ran at the same place for the same reason."""

    framework: str
    function: str
    # "swift_attention", or the function that ran in its place.
    ran: str
    # Why the original ran; empty where this package's kernels did.
    why: str
    calls: int


class Report:
    """Counts of calls; as text, a table. Calls in compiled graphs are not counted."""

    def __init__(self) -> None:
        self._calls: Dict[Tuple[str, str, str, str], int] = {}
        self._warned: set = set()
        self._lock = threading.Lock()

    @property
    def entries(self) -> List[Entry]:
        """What ran, in the order of the first calls."""
        with self._lock:
            return [Entry(*key, calls) for key, calls in self._calls.items()]

    def count(self, framework: str, function: str, ran: str = OWN, why: str = "") -> None:
        """Counts a call."""
        key = (framework, function, ran, why)
        with self._lock:
            self._calls[key] = self._calls.get(key, 0) + 1

    def refused(self, framework: str, function: str, original: str, why: str) -> None:
        """Counts a call that ran the original, and warns of each reason once."""
        # Numbers are the call's: a decoder's lengths differ in every step.
        kind = (framework, function, re.sub(r"[\d.]+", "#", why))
        self.count(framework, function, original, why)
        with self._lock:
            is_new = kind not in self._warned
            self._warned.add(kind)
        if is_new:
            warnings.warn(
                f"swift_attention: {framework}'s {function} runs {original}: {why}",
                RuntimeWarning, stacklevel=4)

    def clear(self) -> None:
        """Forgets everything, warnings included."""
        with self._lock:
            self._calls.clear()
            self._warned.clear()

    def __str__(self) -> str:
        rows = [("framework", "function", "ran", "calls", "why")]
        rows += [(x.framework, x.function, x.ran, str(x.calls), x.why) for x in self.entries]
        if len(rows) == 1:
            return "no call has reached swift_attention's functions"
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join(
            "  ".join([x.ljust(width) for x, width in zip(row, widths)] + [row[4]]).rstrip()
            for row in rows)

    __repr__ = __str__


reports = Report()


def attempt(
    framework: str, function: str, own: Callable[[], object], original: Callable[[], object],
    name: str,
) -> object:
    """`own()`, or where the kernels refuse the call `original()`, called `name`.

    A mistake in the arguments is refused too: then the original raises its own error.
    """
    try:
        result = own()
    except (Refusal, ValueError, TypeError) as refusal:
        why = str(refusal)
    else:
        if not is_compiling():
            reports.count(framework, function)
        return result
    if not is_compiling():
        reports.refused(framework, function, name, why)
    return original()
