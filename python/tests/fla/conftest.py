"""Where the tests of this folder run."""

from __future__ import annotations

from typing import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def on_device(device: torch.device) -> Iterator[None]:
    """Tensors are made on the device that `--device` names."""
    if device.type == "cpu":
        yield
        return
    with device:
        yield
