"""The models without the package transformers."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["transformers"] = None  # as if it were not installed
import swift_attention.fla.layers
try:
    import swift_attention.fla.models
except ImportError as error:
    print(error)
"""


def test_what_is_missing_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install transformers") == 1, done.stdout
