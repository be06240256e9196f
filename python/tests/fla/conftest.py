"""The device of the tests in this folder."""

from __future__ import annotations

from typing import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def on_device(device: torch.device) -> Iterator[None]:
    """Makes tensors on the device that `--device` names."""
    if device.type == "cpu":
        yield
        return
    with device:
        yield
