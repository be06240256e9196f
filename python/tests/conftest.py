"""Options of the tests: where they run, and where other packages' sources lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.addoption(
        "--peers", type=Path, help="a folder with sources of the packages that are compared with")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where the tensors of a test are."""
    chosen = torch.device(request.config.getoption("--device"))
    if chosen.type == "cuda" and not torch.cuda.is_available():
        pytest.exit("--device cuda: PyTorch finds no GPU", returncode=2)
    return chosen


@pytest.fixture(scope="session")
def peers(request: pytest.FixtureRequest) -> Path:
    """The folder that `--peers` names."""
    folder = request.config.getoption("--peers")
    if folder is None:
        pytest.skip("--peers names no folder with the other packages' sources")
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, alone or with others."""
    torch.manual_seed(20)
