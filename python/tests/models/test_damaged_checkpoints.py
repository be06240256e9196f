"""Invalid checkpoints give an error that names the file and what is wrong in it."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
import torch

from checkpoints import join_file, split_file
from swift_attention.models import CheckpointError, load

CONFIGURATION, WEIGHTS = "config.json", "model.safetensors"


@pytest.fixture
def folder(trained: Callable[[str], Path], tmp_path: Path) -> Path:
    """A checkpoint of a hybrid model, to be damaged."""
    return Path(shutil.copytree(trained("pattern") / "checkpoint-6", tmp_path / "checkpoint"))


def configured(folder: Path, change: Callable[[Dict[str, Any]], Any]) -> None:
    path = folder / CONFIGURATION
    configuration = json.loads(path.read_text())
    change(configuration)
    path.write_text(json.dumps(configuration))


def fails(folder: Path, file: str, *words: str, key: str | None = None) -> None:
    """Asserts that loading raises the error that names this file, and the key."""
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    error = caught.value
    assert error.file == str(folder / file if file else folder)
    assert str(error).startswith(error.file + ": ")
    if key is not None:
        assert error.key == key
        assert key in str(error)
    for word in words:
        assert word in str(error), error


def first(configuration: Dict[str, Any], index: int = 0) -> Dict[str, Any]:
    """A layer of the pattern."""
    return configuration["layers"]["pattern"][index]


MISTAKES = {
    "an unknown key": (
        lambda c: c.update(hidden=1), "hidden", "did you mean hidden_size"),
    "an unknown key of a layer": (
        lambda c: first(c).update(window=3), "layers.pattern.0.window", "the keys are type, heads"),
    "a scale of softmax": (
        lambda c: first(c, 2).update(scale=3), "layers.pattern.2.scale", "unknown key"),
    "an unknown mixer": (
        lambda c: first(c).update(type="mamba"), "layers.pattern.0.type",
        'is "mamba"; it must be one of "softmax", "cosine", "gated_linear"'),
    "no mixer": (lambda c: first(c).pop("type"), "layers.pattern.0.type", "is missing"),
    "no size": (lambda c: c.pop("hidden_size"), "hidden_size", "is missing"),
    "no layers": (lambda c: c.pop("layers"), "layers", "is missing"),
    "an empty pattern": (
        lambda c: c["layers"].update(pattern=[]), "layers.pattern", "has 0 layers"),
    "no repetition": (lambda c: c["layers"].update(repeat=0), "layers.repeat", "is 0"),
    "layers that are a number": (lambda c: c.update(layers=3), "layers", "is 3"),
    "a layer that is a number": (
        lambda c: c["layers"]["pattern"].append(3), "layers.pattern.3", "is 3; it must be an object"),
    "a size of another kind": (
        lambda c: c.update(hidden_size="24"), "hidden_size", 'is "24"; it must be a whole number'),
    "a fraction": (lambda c: c.update(hidden_size=24.5), "hidden_size", "is 24.5"),
    "truth for a number": (lambda c: first(c).update(heads=True), "layers.pattern.0.heads", "true"),
    "null for a number": (lambda c: first(c).update(heads=None), "layers.pattern.0.heads", "null"),
    "no heads": (lambda c: first(c).update(heads=0), "layers.pattern.0.heads", "is 0"),
    "a huge size": (lambda c: c.update(vocabulary_size=10**30), "vocabulary_size", "1048576"),
    "no epsilon": (lambda c: c.update(norm_epsilon=0), "norm_epsilon", "above 0"),
    "an endless epsilon": (lambda c: c.update(norm_epsilon=10**400), "norm_epsilon", "above 0"),
    "tied by a number": (lambda c: c.update(tied_embeddings=1), "tied_embeddings", "true or false"),
    "an unknown gate": (
        lambda c: first(c).update(gate="tanh"), "layers.pattern.0.gate",
        'is "tanh"; it must be one of "swish", "sigmoid"'),
    "an uneven width": (
        lambda c: first(c).update(key_expansion=0.3), "layers.pattern.0.key_expansion",
        "multiple of heads, 3"),
    "heads that do not divide": (
        lambda c: first(c, 1).update(heads=5, head_dimension=None, key_value_heads=None),
        "layers.pattern.1.heads", "a divisor of the hidden size, 24"),
    "shared heads that do not divide": (
        lambda c: first(c, 1).update(key_value_heads=4), "layers.pattern.1.key_value_heads",
        "a divisor of heads, 2"),
    "no window": (lambda c: first(c, 1).update(window=0), "layers.pattern.1.window", "at least 1"),
    "places of an odd head": (
        lambda c: first(c, 1).update(head_dimension=3), "layers.pattern.1.head_dimension", "even"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_configurations(mistake: str, folder: Path) -> None:
    change, key, words = MISTAKES[mistake]
    configured(folder, change)
    fails(folder, CONFIGURATION, words, key=key)


@pytest.mark.parametrize("text, words", [
    (b"", "no JSON"), (b"{", "line 1"), (b"[]", "an object"), (b"\xff{}", "UTF-8"),
    (b"[" * 100_000, "nested too deep"), (b'{"hidden_size": 1, "hidden_size": 2}', "twice"),
    (b"{hidden_size: 1}", "no JSON: line 1, column 2"),
])
def test_configurations_that_are_none(text: bytes, words: str, folder: Path) -> None:
    (folder / CONFIGURATION).write_bytes(text)
    fails(folder, CONFIGURATION, words)


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    fails(tmp_path / "nowhere", "", "there is no such folder")
    (tmp_path / "file").write_text("")
    fails(tmp_path / "file", "", "is no folder")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", CONFIGURATION, "No such file")
    os.remove(folder / WEIGHTS)
    fails(folder, WEIGHTS, "No such file")
    os.mkfifo(folder / WEIGHTS)
    fails(folder, WEIGHTS, "is no file")


def test_truncated_weights(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for length in (0, 7, 8, 9, header - 1, header, header + 1, len(content) - 1):
        (folder / WEIGHTS).write_bytes(content[:length])
        fails(folder, WEIGHTS)
    (folder / WEIGHTS).write_bytes(content + b"\0")
    fails(folder, WEIGHTS, "belong to no tensor")
    (folder / WEIGHTS).write_bytes(b"\xff" * 8 + content[8:])
    fails(folder, WEIGHTS, "the format allows")


def test_other_tensors(folder: Path) -> None:
    path = folder / WEIGHTS
    header, data = split_file(path)
    name = "layers.1.mixer.scale"

    def changed(**keys: Any) -> Dict[str, Any]:
        return {**header, name: {**header[name], **keys}}

    join_file(path, {key: value for key, value in header.items() if key != name}, data)
    fails(folder, WEIGHTS)  # A hole in the data, before it is a tensor that is missing.
    other = {("other" if key == name else key): value for key, value in header.items()}
    join_file(path, other, data)
    fails(folder, WEIGHTS, "is missing", key=name)
    first_, last = header[name]["data_offsets"]
    more = {**header, "more": {"dtype": "F32", "shape": [0], "data_offsets": [len(data)] * 2}}
    join_file(path, more, data)
    fails(folder, WEIGHTS, "no layer uses", key="more")
    join_file(path, changed(shape=[1, 2]), data)
    fails(folder, WEIGHTS, "torch.float32 [1, 2]", "[2]", key=name)
    join_file(path, changed(dtype="BF16", shape=[4]), data)
    fails(folder, WEIGHTS, "torch.bfloat16", "torch.float32", key=name)
    join_file(path, changed(dtype="Q4"), data)
    fails(folder, WEIGHTS, "'Q4'", key=name)
    join_file(path, changed(shape=[3]), data)
    fails(folder, WEIGHTS, "takes 12", key=name)
    join_file(path, changed(shape=[-2]), data)
    fails(folder, WEIGHTS, key=name)
    join_file(path, changed(data_offsets=[last, first_]), data)
    fails(folder, WEIGHTS, "begin ≤ end", key=name)
    join_file(path, changed(extra=1), data)
    fails(folder, WEIGHTS, "no others", key=name)


def test_any_damage_is_an_error_of_its_kind(folder: Path) -> None:
    """Randomly changed bytes give a model or the error."""
    generator = random.Random(5)
    for file in (CONFIGURATION, WEIGHTS):
        content = (folder / file).read_bytes()
        for _ in range(150):
            damaged = bytearray(content)
            for _ in range(generator.randint(1, 3)):
                damaged[generator.randrange(min(len(damaged), 4000))] = generator.randrange(256)
            (folder / file).write_bytes(damaged)
            try:
                load(folder)
            except CheckpointError as error:
                assert str(folder) in str(error)
        (folder / file).write_bytes(content)
    load(folder)


def test_errors_travel_between_processes() -> None:
    error = CheckpointError("a/config.json", "layers is missing", "layers")
    other = pickle.loads(pickle.dumps(error))
    assert str(other) == "a/config.json: layers is missing" and other.key == "layers"
