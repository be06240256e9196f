"""The device and the random numbers of the tests."""

from __future__ import annotations

from typing import Iterator

import pytest
import torch

from calls import CALLS, Call


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="cpu, cuda or cuda:N")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device of a test's tensors."""
    chosen = torch.device(request.config.getoption("--device"))
    if chosen.type == "cuda" and not torch.cuda.is_available():
        pytest.exit("--device cuda: PyTorch finds no GPU", returncode=2)
    return chosen


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest, device: torch.device) -> Iterator[Call]:
    """One of the calls, with tensors on the device."""
    with device:
        yield CALLS[request.param]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, whichever others run."""
    torch.manual_seed(20)
