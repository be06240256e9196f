"""Models that the tool trained give the tool's results in PyTorch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from checkpoints import EXAMPLES, MODELS, Tool, write_tensors
from support import BOUNDS, GRADIENT_BOUNDS, error
from swift_attention.models import load

Trained = Callable[[str], Path]
BOUND = BOUNDS[torch.float32]
TEXT = "func f2(x: Int) -> Int { x + 9 } // was\nimport été\n"


def text_tokens(batch: int, length: int) -> Tensor:
    """Bytes of a text, each row from another position."""
    text = list(TEXT.encode()) * (1 + (batch + length) // 50)
    return torch.tensor([text[row:row + length] for row in range(batch)])


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_the_tool_s(
    name: str, tool: Tool, trained: Trained, tmp_path: Path, device: torch.device
) -> None:
    folder = trained(name)
    model = load(folder, device=device)
    tokens = text_tokens(3, 41)
    mask = torch.ones(3, 41, dtype=torch.bool)
    mask[0, :4] = False
    mask[1, 30:] = False
    lengths = torch.tensor([0, 1, 1, 20, 41], dtype=torch.int32)
    calls = [
        dict(tokens=tokens), dict(tokens=tokens, padding_mask=mask),
        dict(tokens=tokens[:1], cumulative_lengths=lengths),
        dict(tokens=tokens[:, :1].int())]
    for call in calls:
        ours = model(**{key: tensor.to(device) for key, tensor in call.items()})
        theirs = tool.logits(folder, tmp_path, **call)
        off = error(ours.cpu(), theirs)
        assert off <= BOUND, f"{name}, {', '.join(call)}: off by {off:.1e}"


def test_more_tokens_than_bytes(
    tool: Tool, trained: Trained, tmp_path: Path, device: torch.device
) -> None:
    """A vocabulary that the tool supports but does not train."""
    folder = Path(shutil.copytree(trained("untied") / "checkpoint-6", tmp_path / "wide"))
    configuration = json.loads((folder / "config.json").read_text())
    configuration["vocabulary_size"] = 300
    (folder / "config.json").write_text(json.dumps(configuration))
    tensors = load(trained("untied")).state_dict()
    for name in ("embedding.weight", "head.weight"):
        tensors[name] = torch.cat((tensors[name], torch.randn(44, 32)))
    write_tensors(folder / "model.safetensors", tensors)
    tokens = text_tokens(2, 20) * 7 % 300
    assert int(tokens.max()) >= 256
    ours = load(folder, device=device)(tokens.to(device))
    assert ours.shape[-1] == 300
    assert error(ours.cpu(), tool.logits(folder, tmp_path, tokens=tokens)) <= BOUND


def test_weights_of_half_precision_are_computed_in_it(trained: Trained, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained("pattern") / "checkpoint-6", tmp_path / "half"))
    tensors = load(folder, dtype=torch.bfloat16).state_dict()
    write_tensors(folder / "model.safetensors", tensors)
    own = load(folder).state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("name", MODELS)
def test_token_by_token_is_the_whole(name: str, trained: Trained, device: torch.device) -> None:
    model = load(trained(name), device=device)
    tokens = text_tokens(2, 47).to(device)
    mask = torch.ones(2, 47, dtype=torch.bool, device=device)
    late = mask.clone()
    mask[0, :3] = False
    late[1, 18:21] = False
    for masks in (None, mask, late):
        whole = model(tokens, padding_mask=masks)
        cache = model.make_cache()
        place, parts = 0, []
        for length in (17, 1, 1, 1, 20, 7):
            end = place + length
            # Pieces without padding may omit the mask, before and after pieces that have one.
            piece = None if masks is None or masks[:, place:end].all() else masks[:, place:end]
            parts.append(model(tokens[:, place:end], cache, padding_mask=piece))
            place = end
        assert cache.token_count == 47
        assert error(torch.cat(parts, 1), whole) <= BOUND
    last = model(tokens, only_last=True)
    assert last.shape[1] == 1 and error(last, model(tokens)[:, -1:]) <= BOUND


@pytest.mark.parametrize("name", MODELS)
def test_the_likeliest_text_is_the_tool_s(
    name: str, tool: Tool, trained: Trained, device: torch.device
) -> None:
    folder = trained(name)
    model = load(folder, device=device)
    prompt = "func f1(x"
    printed = tool(
        "generate", folder, "--prompt", prompt, "--tokens", 30, "--temperature", 0)
    tokens = torch.tensor([list(prompt.encode())], device=device)
    written = model.generate(tokens, 30, temperature=0, prefill_length=4)
    assert bytes(written[0].tolist()).decode(errors="replace") == printed.decode()[len(prompt):-1]


@pytest.mark.parametrize("name", MODELS)
def test_gradients(name: str, trained: Trained) -> None:
    """The float32 gradients of every parameter compared with float64."""
    tokens = text_tokens(2, 33)

    def gradients(dtype: torch.dtype):
        model = load(trained(name), dtype=dtype)
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        names, parameters = zip(*model.named_parameters())
        return names, torch.autograd.grad(loss, parameters)

    names, own = gradients(torch.float32)
    _, exact = gradients(torch.float64)
    for parameter, gradient, reference in zip(names, own, exact):
        off = error(gradient, reference)
        assert off <= GRADIENT_BOUNDS[torch.float32], f"{parameter}: off by {off:.1e}"


def test_a_copy_of_a_cache_goes_its_own_way(trained: Trained) -> None:
    model = load(trained("pattern"))
    tokens = text_tokens(1, 30)
    cache = model.make_cache()
    model(tokens[:, :10], cache)
    other = cache.copy()
    first = model(tokens[:, 10:20], cache)
    # Tokens read with another cache meanwhile are not in this one.
    model(tokens[:, 20:30], other)
    model(tokens[:, :5], other)
    second = model(tokens[:, 20:30], cache)
    assert error(torch.cat((first, second), 1), model(tokens)[:, 10:]) <= BOUND
    assert (cache.token_count, other.token_count) == (30, 25)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype: torch.dtype, trained: Trained) -> None:
    model = load(trained("pattern"), dtype=dtype)
    tokens = text_tokens(2, 20)
    logits = model(tokens)
    assert logits.dtype == dtype
    assert error(logits, load(trained("pattern"))(tokens)) < 5e-2
    cache = model.make_cache()
    parts = [model(piece, cache) for piece in tokens.split([13, 1, 6], dim=1)]
    assert error(torch.cat(parts, 1), logits) < 5e-2


def test_a_run_stands_for_its_latest_checkpoint(trained: Trained) -> None:
    folder = trained("softmax")
    assert {path.name for path in folder.glob("checkpoint-*")} == {"checkpoint-4", "checkpoint-6"}
    tokens = text_tokens(1, 9)
    run, latest, earlier = (
        load(path)(tokens) for path in (folder, folder / "checkpoint-6", folder / "checkpoint-4"))
    assert torch.equal(run, latest) and not torch.equal(run, earlier)


def test_sampling(trained: Trained) -> None:
    model = load(trained("gated-linear"))
    tokens = text_tokens(3, 8)

    def drawn(seed: int, **options) -> Tensor:
        return model.generate(
            tokens, 25, generator=torch.Generator().manual_seed(seed), **options)

    assert torch.equal(drawn(3), drawn(3)) and not torch.equal(drawn(3), drawn(4))
    greedy = model.generate(tokens, 25, temperature=0)
    for options in (dict(top_k=1), dict(top_p=1e-9), dict(temperature=1e-6)):
        assert torch.equal(drawn(3, **options), greedy), options
    assert model.generate(tokens, 0).shape == (3, 0)
    likeliest = model(tokens, only_last=True)[:, -1].topk(4).indices
    for seed in range(10):
        first = model.generate(
            tokens, 1, top_k=4, generator=torch.Generator().manual_seed(seed))
        assert (likeliest == first).any(-1).all()


def test_wrong_arguments(trained: Trained) -> None:
    model = load(trained("pattern"))
    tokens = text_tokens(2, 8)
    cache = model.make_cache()
    model(tokens, cache)
    wrong = [
        (lambda: model(tokens.float()), "tokens is torch.float32"),
        (lambda: model(tokens[0]), r"tokens is torch.int64 \[8\]"),
        (lambda: model(tokens + 200), "tokens has 3"),
        (lambda: model(-tokens), "tokens has -"),
        (lambda: model(tokens, padding_mask=tokens), "padding_mask is torch.int64"),
        (lambda: model(tokens[:1], cumulative_lengths=torch.tensor([0, 9], dtype=torch.int32)),
         r"cumulative_lengths is \[0, 9\]"),
        (lambda: model(tokens, cumulative_lengths=torch.tensor([0, 8], dtype=torch.int32)),
         "batch of 2"),
        (lambda: model(tokens[:1], cache), "batch of 1; it must be 2"),
        (lambda: model(tokens, load(trained("softmax")).make_cache()), "cache is of 1 layers"),
        (lambda: model.generate(tokens, -1), "count is -1"),
        (lambda: model.generate(tokens[:, :0], 1), "at least one token"),
        (lambda: model.generate(tokens, 1, temperature=-1), "temperature is -1"),
        (lambda: model.generate(tokens, 1, top_k=0), "top_k is 0"),
        (lambda: model.generate(tokens, 1, top_p=1.5), "top_p is 1.5"),
        (lambda: model.generate(tokens, 1, prefill_length=0), "prefill_length is 0"),
    ]
    for call, words in wrong:
        with pytest.raises(ValueError, match=words):
            call()
    # A failing call leaves the cache unchanged.
    assert cache.token_count == 8 and cache.batch == 2
