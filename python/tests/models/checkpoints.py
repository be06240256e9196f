"""Shared by the tests of models: configurations, the tool, and its files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Dict, Tuple

import torch
from torch import Tensor

REPOSITORY = Path(__file__).parents[3]
EXAMPLES = {path.stem: path for path in sorted((REPOSITORY / "Examples").glob("*.json5"))}


def _model(*layers: Dict[str, Any], **keys: Any) -> Dict[str, Any]:
    return {"hidden_size": 32, "layers": list(layers), **keys}


# Every mixer with every option, alone and with others.
VARIANTS: Dict[str, Dict[str, Any]] = {
    "softmax": _model({"type": "softmax"}),
    "softmax-shared": _model({"type": "softmax", "heads": 4, "key_value_heads": 2}),
    "softmax-wide": _model({"type": "softmax", "heads": 3, "head_dimension": 6}),
    "softmax-window": _model({"type": "softmax", "heads": 2, "window": 5}, {"type": "softmax"}),
    "softmax-window-of-one": _model({"type": "softmax", "window": 1}),
    "softmax-theta": _model({"type": "softmax", "rotary_theta": 100}),
    "softmax-without-places": _model(
        {"type": "softmax", "heads": 1, "head_dimension": 9, "rotary_theta": None}),
    "cosine": _model({"type": "cosine"}),
    "cosine-all": _model({
        "type": "cosine", "heads": 6, "key_value_heads": 3, "head_dimension": 4, "window": 9,
        "rotary_theta": 500.5, "scale": 3.5}),
    "cosine-without-places": _model({"type": "cosine", "rotary_theta": None}),
    "gated-linear": _model({"type": "gated_linear"}),
    "gated-linear-all": _model({
        "type": "gated_linear", "heads": 2, "gate": "sigmoid", "key_expansion": 1.5,
        "value_expansion": 2, "decay_rank": 3, "decay_divisor": 4.5}),
    "untied": _model(
        {"type": "softmax"}, tied_embeddings=False, norm_epsilon=1e-3, feed_forward_size=20),
    "pattern": {
        "hidden_size": 24,
        "layers": {
            "pattern": [
                {"type": "gated_linear", "heads": 3}, {"type": "cosine", "heads": 2, "window": 4},
                {"type": "softmax", "heads": 6, "key_value_heads": 1}],
            "repeat": 2}},
}
MODELS = [*VARIANTS, *EXAMPLES]

_NAMES = {
    torch.float32: "F32", torch.bfloat16: "BF16", torch.float64: "F64", torch.int32: "I32",
    torch.int64: "I64", torch.bool: "BOOL"}


def write_tensors(path: Path, tensors: Dict[str, Tensor]) -> None:
    """Writes a safetensors file, with code other than the package's."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        numbers = bytes(tensor.contiguous().flatten().view(torch.uint8).tolist())
        header[name] = {
            "dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(numbers)]}
        data += numbers
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def split_file(path: Path) -> Tuple[Dict[str, Any], bytes]:
    """The header of a safetensors file, and its data."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8:8 + length]), content[8 + length:]


def join_file(path: Path, header: Dict[str, Any], data: bytes) -> None:
    """The reverse of `split_file`."""
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


class Tool:
    """`attention`, as a process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, *arguments: Any) -> bytes:
        outcome = subprocess.run(
            [self.path, *map(str, arguments)], capture_output=True, stdin=subprocess.DEVNULL)
        assert outcome.returncode == 0, outcome.stderr.decode()
        return outcome.stdout

    def logits(self, folder: Path, scratch: Path, **tensors: Tensor) -> Tensor:
        """The logits of a model for these tensors."""
        source, target = scratch / "in.safetensors", scratch / "out.safetensors"
        write_tensors(source, tensors)
        self("logits", folder, source, "-o", target)
        header, data = split_file(target)
        shape = header["logits"]["shape"]
        return torch.frombuffer(bytearray(data), dtype=torch.float32).reshape(shape)
