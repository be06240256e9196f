"""The structs of the C header, and their layout in Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from swift_attention import _library as library

HEADER = Path(__file__).parents[2] / "Sources/AttentionInterface/include"
OPERATORS = (library.ATTENTION, library.LINEAR_ATTENTION, library.GATED_SCAN)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_layout_is_the_header_s(operator: library.Operator, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("clang")
    if compiler is None or not HEADER.is_dir():
        pytest.skip("needs a C compiler and the repository's header")
    struct = f"sa_{operator.name}"
    lines = "".join(
        f'printf("%zu ", offsetof({struct}, {field}));' for field in operator.offsets)
    source = tmp_path / "layout.c"
    source.write_text(
        '#include "swift_attention.h"\n#include <stddef.h>\n#include <stdio.h>\n'
        f'int main(void) {{ {lines} printf("%zu\\n", sizeof({struct})); }}\n')
    subprocess.run([compiler, f"-I{HEADER}", source, "-o", tmp_path / "layout"], check=True)
    printed = subprocess.run([tmp_path / "layout"], check=True, capture_output=True, text=True)
    assert [int(word) for word in printed.stdout.split()] == [
        *operator.offsets.values(), operator.size]


def test_devices_say_what_they_are() -> None:
    assert library.device_description()
    with pytest.raises((RuntimeError, ValueError)):
        library.device_description(4095)


def test_long_texts_are_whole() -> None:
    """A text that does not fit at first is requested again with its length."""
    text = "x" * 100_000

    def write(buffer, capacity, length) -> int:
        length._obj.value = len(text)
        buffer.value = text[:capacity - 1].encode()
        return 0

    assert library.text_of(write) == text
