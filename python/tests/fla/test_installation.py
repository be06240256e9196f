"""`install()` behind flash-linear-attention: its models on a CPU, beside Triton's interpreter.

Skipped unless flash-linear-attention 0.6.0 and Triton are installed.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Iterator

import pytest
import torch

# Before Triton is imported, by whichever test imports it first.
os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ.setdefault("FLA_CACHE_RESULTS", "0")
transformers = pytest.importorskip("transformers")
pytest.importorskip("triton")
pytest.importorskip("fla")

import swift_attention
from published_families import FLA, FAMILIES, Family

# The interpreter of Triton 3.5.1 runs the originals of these, with NumPy before 2.4.
COMPARED = ["gla", "delta_net", "gsa", "forgetting_transformer", "hgrn2"]
# These continue by an approximation, or without the sums of the slots.
NOT_STEP_BY_STEP = ["mesa_net", "abc"]
FURTHER = {
    "hgrn": {}, "hgrn2": {"num_heads": 2, "expand_ratio": None}, "linear_attn": {"num_heads": 2},
    "abc": {"num_heads": 2, "num_slots": 16}, "retnet": {"num_heads": 2}, "rwkv6": {"num_heads": 2},
    "rwkv7": {"head_dim": 32}, "mesa_net": {"num_heads": 2, "head_dim": 16},
    "lightnet": {"num_heads": 2}, "transformer": {"num_heads": 2},
    "gated_deltanet": {"num_heads": 2, "head_dim": 16},
    "comba": {"num_heads": 2, "head_dim": 16}, "kda": {"num_heads": 2, "head_dim": 16}}


def family(name: str) -> Family:
    return FAMILIES[name] if name in FAMILIES else Family("fla:" + name, {**FLA, **FURTHER[name]})


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    """Every test begins and ends without installation."""
    swift_attention.uninstall()
    swift_attention.report().clear()
    yield
    swift_attention.uninstall()


def results(model: torch.nn.Module, tokens: torch.Tensor):
    """Logits, the gradients of parameters, and greedy tokens."""
    model.zero_grad()
    logits = model(tokens, use_cache=False).logits
    (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    greedy = model.generate(
        tokens[:, :5], max_new_tokens=3, min_new_tokens=3, do_sample=False, pad_token_id=0,
        use_cache=False)
    return logits.detach(), gradients, greedy


@pytest.mark.parametrize("name", COMPARED)
def test_models_compute_the_same(name: str) -> None:
    model = family(name).build()
    # So short that layers take the recurrent form, which the interpreter runs.
    tokens = torch.randint(3, 128, (1, 33))
    logits, gradients, greedy = results(model, tokens)
    swift_attention.install("fla")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "swift_attention", RuntimeWarning)
        found = results(model, tokens)
    torch.testing.assert_close(found[0], logits, rtol=1e-3, atol=1e-3)
    assert torch.equal(found[2], greedy)
    for parameter, gradient in gradients.items():
        deviation = (found[1][parameter] - gradient).norm() / gradient.norm().clamp(min=1e-3)
        assert deviation < 1e-2, (parameter, deviation)
    assert {x.ran for x in swift_attention.report().entries} == {"swift_attention"}


@pytest.mark.parametrize("name", FURTHER)
def test_models_train_and_continue(name: str) -> None:
    swift_attention.install("fla")
    model = family(name).build().train()
    tokens = torch.randint(3, 128, (2, 70))
    loss = model(tokens, labels=tokens).loss
    loss.backward()
    assert torch.isfinite(loss) and all(
        torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    model.eval()
    entries = swift_attention.report().entries
    assert entries and all(x.ran == "swift_attention" for x in entries), entries
    if name in NOT_STEP_BY_STEP:
        return
    # Step by step as all at once.
    with torch.no_grad():
        expected = model(tokens[:, :9], use_cache=False).logits
        result = model(tokens[:, :5], use_cache=True)
        found = [result.logits]
        for place in range(5, 9):
            result = model(
                tokens[:, place:place + 1], past_key_values=result.past_key_values, use_cache=True)
            found.append(result.logits)
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=1e-4, atol=1e-4)


def test_uninstall_restores_everything() -> None:
    import fla.layers
    import fla.models

    def state():
        modules = {n: m for n, m in sys.modules.items() if n.startswith("fla.") or n == "fla"}
        return {n: {**vars(m)} for n, m in modules.items()}

    before = state()
    swift_attention.install("fla")
    changed = state()
    assert changed["fla.layers.gla"]["chunk_gla"] is not before["fla.layers.gla"]["chunk_gla"]
    swift_attention.uninstall()
    after = state()
    for module, names in before.items():
        for name, value in names.items():
            assert after[module][name] is value, (module, name)
