"""The tool, and models that it trains for a few steps."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Callable, Dict

import pytest

from checkpoints import EXAMPLES, REPOSITORY, Tool, VARIANTS


@pytest.fixture(scope="session")
def tool() -> Tool:
    """The command-line tool: SWIFT_ATTENTION_TOOL, or the repository's own build."""
    given = os.environ.get("SWIFT_ATTENTION_TOOL")
    path = Path(given) if given else REPOSITORY / ".build/release/attention"
    if not path.is_file():
        pytest.skip(f"needs the tool, which is not at {path}: swift build -c release")
    return Tool(path)


@pytest.fixture(scope="session")
def trained(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a training run, by the name of a variant or an example."""
    runs: Dict[str, Path] = {}
    texts = tmp_path_factory.mktemp("texts")
    for number in range(4):
        line = f"func f{number}(x: Int) -> Int {{ x + {number} }} // été\n"
        (texts / f"{number}.txt").write_text(line * 150, encoding="utf-8")

    def run(name: str) -> Path:
        if name not in runs:
            folder = tmp_path_factory.mktemp("runs") / "run"
            if name in VARIANTS:
                configuration = folder.parent / "variant.json5"
                configuration.write_text(json.dumps({"model": VARIANTS[name]}))
            else:
                configuration = EXAMPLES[name]
            tool(
                "train", configuration, f'data.paths=["{texts}"]', 'data.extensions=["txt"]',
                f"training.output_directory={folder}", "training.steps=6",
                "training.batch_size=2", "training.length=64", "training.warmup_steps=2",
                "training.validation_tokens=128", "training.checkpoint_interval=4",
                "sample.tokens=0")
            runs[name] = folder
        return runs[name]

    return run
