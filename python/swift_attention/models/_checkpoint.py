"""Loading models from the folders that `attention train` writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List, Optional, Union

import torch
from torch import Tensor

from ._configuration import FILE as CONFIGURATION_FILE
from ._configuration import read_configuration
from ._errors import CheckpointError
from ._model import LanguageModel
from ._weights import FILE as WEIGHTS_FILE
from ._weights import read_weights

_PREFIX = "checkpoint-"


def load(
    folder: Union[str, os.PathLike],
    *,
    device: Union[str, torch.device, None] = None,
    dtype: Optional[torch.dtype] = None,
) -> LanguageModel:
    """The model of a checkpoint.

    Args:
        folder: A checkpoint's folder, with `config.json` and `model.safetensors`, or the output
            folder of a training run, which stands for its latest checkpoint.
        device: The model's device; the CPU by default.
        dtype: The dtype to compute in; by default that of the checkpoint, which is float32 for
            models that the tool trains.

    Raises:
        CheckpointError: The folder or its contents are not a checkpoint. It names the file, and the
            invalid key or tensor.
    """
    model = _read_latest(Path(folder))
    return model.to(device=device, dtype=dtype).eval()


def _read_latest(folder: Path) -> LanguageModel:
    while True:
        steps = _steps(folder)
        if not steps:
            return _read(folder)
        latest = folder / f"{_PREFIX}{steps[-1]}"
        try:
            return _read(latest)
        except CheckpointError:
            # A running training may have removed it; then there are later ones.
            if _steps(folder) == steps:
                raise


def _steps(folder: Path) -> List[int]:
    """The steps of a run's complete checkpoints, ascending."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    steps = []
    for name in names:
        text = name[len(_PREFIX):]
        if not (name.startswith(_PREFIX) and text.isdecimal() and text == str(int(text))):
            continue
        files = (CONFIGURATION_FILE, WEIGHTS_FILE)
        if int(text) >= 1 and all((folder / name / file).exists() for file in files):
            steps.append(int(text))
    return sorted(steps)


def _read(folder: Path) -> LanguageModel:
    if not folder.is_dir():
        reason = "is no folder" if folder.exists() else "there is no such folder"
        raise CheckpointError(folder, f"{reason}; it must be a checkpoint or a training run")
    configuration = read_configuration(folder)
    weights = read_weights(folder)
    # The parameters are read, so none are drawn and no memory is allocated for them.
    with torch.device("meta"):
        model = LanguageModel(configuration)
    _check(folder / WEIGHTS_FILE, model.state_dict(), weights)
    model.load_state_dict(weights, assign=True)
    return model


def _check(file: Path, wanted: Dict[str, Tensor], given: Dict[str, Tensor]) -> None:
    """Checks that the tensors given are the wanted ones, all of the first one's dtype."""
    dtype = next(iter(given.values())).dtype if given else torch.float32
    for name, parameter in wanted.items():
        must_be = f"it must be {dtype} {list(parameter.shape)}"
        if name not in given:
            raise CheckpointError(file, f"tensor {name} is missing; {must_be}", name)
        tensor = given[name]
        if tensor.shape != parameter.shape or tensor.dtype != dtype:
            raise CheckpointError(
                file, f"tensor {name} is {tensor.dtype} {list(tensor.shape)}; {must_be}", name)
    left = [name for name in given if name not in wanted]
    if left:
        raise CheckpointError(file, f"no layer uses the tensor {', '.join(left)}", left[0])
