"""Where the tests run, and what they draw."""

from __future__ import annotations

from typing import Iterator

import pytest
import torch

from calls import CALLS, Call


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="cpu, cuda or cuda:N")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where the tensors of a test are."""
    chosen = torch.device(request.config.getoption("--device"))
    if chosen.type == "cuda" and not torch.cuda.is_available():
        pytest.exit("--device cuda: PyTorch finds no GPU", returncode=2)
    return chosen


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest, device: torch.device) -> Iterator[Call]:
    """One of the calls, with tensors of the device."""
    with device:
        yield CALLS[request.param]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, alone or with others."""
    torch.manual_seed(20)
