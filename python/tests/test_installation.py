"""`install()` behind transformers: models compute what they compute without it."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Dict, Iterator, Tuple

import pytest
import torch
from torch import Tensor

import swift_attention
from published_families import FAMILIES

transformers = pytest.importorskip("transformers")

# Families with attention: sinks, softcap, windows, shared heads, scaled rotary embeddings.
ATTENTIONS = [
    "llama", "llama_yarn", "mistral", "qwen2", "qwen3", "qwen3_moe", "mixtral", "gemma2",
    "gemma3_text", "gpt_oss", "olmo2", "phi3", "granite"]
# Families with a state, alone or beside attention.
LINEAR = [
    "qwen3_next", "qwen3_5_text", "mamba", "falcon_mamba", "mamba2", "bamba", "falcon_h1",
    "granitemoehybrid", "jamba", "nemotron_h"]
_CONVOLUTION = {"causal_conv1d_fn", "causal_conv1d_update"}
_DELTA = {"attention", *_CONVOLUTION, "chunk_gated_delta_rule", "fused_recurrent_gated_delta_rule"}
_MAMBA = {*_CONVOLUTION, "selective_scan_fn", "selective_state_update"}
_MAMBA2 = {*_CONVOLUTION, "mamba_chunk_scan_combined", "selective_state_update"}
# What a family's models call, where it is more than attention.
FUNCTIONS = {
    "qwen3_next": _DELTA, "qwen3_5_text": _DELTA, "mamba": _MAMBA, "falcon_mamba": _MAMBA,
    "jamba": {"attention", *_MAMBA}, "mamba2": _MAMBA2,
    **{name: {"attention", *_MAMBA2} for name in LINEAR if name not in (
        "qwen3_next", "qwen3_5_text", "mamba", "falcon_mamba", "mamba2", "jamba")}}
# Logits of float32 models: sums are taken in another order.
AGREEMENT = dict(rtol=1e-4, atol=1e-4)


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    """Every test begins and ends without installation."""
    swift_attention.uninstall()
    swift_attention.report().clear()
    yield
    swift_attention.uninstall()


def batch(padding: str) -> Tuple[Tensor, Tensor]:
    """Token numbers [2, 9] and their mask, the second row with three tokens of padding."""
    tokens = torch.randint(3, 128, (2, 9))
    mask = torch.ones_like(tokens)
    if padding == "left":
        mask[1, :3] = 0
    elif padding == "right":
        mask[1, -3:] = 0
    return tokens, mask


def results(model: torch.nn.Module, tokens: Tensor, mask: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
    """Logits of real tokens, and the gradients of parameters."""
    model.zero_grad()
    logits = model(tokens, attention_mask=mask, use_cache=False).logits[mask.bool()]
    (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
    return logits.detach(), {
        name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def continuation(model: torch.nn.Module, tokens: Tensor, mask: Tensor, **options) -> Tensor:
    """Greedy tokens after the batch."""
    return model.generate(
        tokens, attention_mask=mask, max_new_tokens=6, min_new_tokens=6, do_sample=False,
        pad_token_id=0, **options)


def check_equal(expected, found) -> None:
    """Asserts that logits and gradients are the same up to rounding."""
    torch.testing.assert_close(found[0], expected[0], **AGREEMENT)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        size = gradient.abs().max().item()
        torch.testing.assert_close(
            found[1][name], gradient, rtol=1e-3, atol=1e-4 * max(size, 1.0), msg=name)


@pytest.mark.parametrize("family", ATTENTIONS + LINEAR)
def test_models_compute_the_same(family: str) -> None:
    model = FAMILIES[family].build()
    batches = {padding: batch(padding) for padding in ("none", "left", "right")}
    expected = {padding: results(model, *each) for padding, each in batches.items()}
    tokens = continuation(model, *batches["left"])
    swift_attention.install("transformers")
    model.set_attn_implementation("swift_attention")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for padding, each in batches.items():
            check_equal(expected[padding], results(model, *each))
        assert torch.equal(continuation(model, *batches["left"]), tokens)
    entries = swift_attention.report().entries
    assert entries and all(x.ran == "swift_attention" for x in entries), entries
    called = {x.function.partition(" ")[0] for x in entries}
    assert called == FUNCTIONS.get(family, {"attention"}), called


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3_text", "gpt_oss"])
def test_caches_of_fixed_length(family: str) -> None:
    model = FAMILIES[family].build()
    options = dict(cache_implementation="static", disable_compile=True)
    tokens, mask = batch("left")
    expected = continuation(model, tokens, mask, **options)
    swift_attention.install("transformers")
    model.set_attn_implementation("swift_attention")
    assert torch.equal(continuation(model, tokens, mask, **options), expected)


@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral"])
def test_packed_sequences_do_not_see_each_other(family: str) -> None:
    model = FAMILIES[family].build()
    tokens = torch.randint(3, 128, (1, 11))
    positions = torch.cat([torch.arange(4), torch.arange(7)])[None]
    expected = model(tokens, position_ids=positions, use_cache=False).logits
    swift_attention.install("transformers")
    model.set_attn_implementation("swift_attention")
    packed = model(tokens, position_ids=positions, use_cache=False).logits
    torch.testing.assert_close(packed, expected, **AGREEMENT)
    tokens[:, :4] = 5
    again = model(tokens, position_ids=positions, use_cache=False).logits
    torch.testing.assert_close(again[:, 4:], packed[:, 4:])


def bert() -> torch.nn.Module:
    sizes = dict(
        vocab_size=128, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=96, max_position_embeddings=64)
    return transformers.AutoModelForMaskedLM.from_config(
        transformers.BertConfig(**sizes), attn_implementation="sdpa").eval()


def test_encoders_by_default() -> None:
    model = bert()
    tokens, mask = batch("right")
    expected = model(tokens, attention_mask=mask).logits[mask.bool()]
    swift_attention.install()
    found = model(tokens, attention_mask=mask).logits[mask.bool()]
    torch.testing.assert_close(found, expected, **AGREEMENT)
    assert [x.ran for x in swift_attention.report().entries] == ["swift_attention"]


def test_biases_of_positions() -> None:
    torch.manual_seed(4)
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=128, d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4,
            attn_implementation="eager", decoder_start_token_id=0)).eval()
    tokens, mask = batch("right")
    call = dict(input_ids=tokens, attention_mask=mask, decoder_input_ids=tokens[:, :5])
    expected = model(**call).logits
    swift_attention.install("transformers")
    model.set_attn_implementation("swift_attention")
    torch.testing.assert_close(model(**call).logits, expected, **AGREEMENT)
    entries = swift_attention.report().entries
    assert entries and all(x.ran == "swift_attention" for x in entries), entries


def test_a_refusal_runs_the_original_and_says_why_once() -> None:
    model = FAMILIES["llama"].build()
    model.config.attention_dropout = 0.5
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    model.train()
    tokens, mask = batch("left")
    torch.manual_seed(1)
    model.set_attn_implementation("sdpa")
    expected = model(tokens, attention_mask=mask).logits
    swift_attention.install("transformers")
    for implementation in ("sdpa", "swift_attention"):
        swift_attention.report().clear()
        model.set_attn_implementation(implementation)
        torch.manual_seed(1)
        with pytest.warns(RuntimeWarning, match="dropout is 0.5; it must be 0") as caught:
            found = model(tokens, attention_mask=mask).logits
        assert len([x for x in caught if "swift_attention" in str(x.message)]) == 1
        torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], **AGREEMENT)
        (entry,) = swift_attention.report().entries
        assert entry.ran == "sdpa_attention_forward" and entry.calls == 3
        assert "dropout is 0.5" in str(swift_attention.report())


def test_a_refusal_of_what_models_do_themselves() -> None:
    model = FAMILIES["gpt_oss"].build()
    tokens, mask = batch("left")
    expected = model(tokens, attention_mask=mask, output_attentions=True)
    swift_attention.install("transformers")
    model.set_attn_implementation("swift_attention")
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 1e-30
    model.train()
    with pytest.warns(RuntimeWarning, match="runs eager_attention_forward: dropout"):
        found = model(tokens, attention_mask=mask)
    torch.testing.assert_close(
        found.logits[mask.bool()], expected.logits[mask.bool()], **AGREEMENT)


def test_uninstall_restores_everything() -> None:
    from transformers import masking_utils, modeling_utils

    def state():
        return (
            dict(modeling_utils.AttentionInterface._global_mapping),
            dict(masking_utils.AttentionMaskInterface._global_mapping),
            dict(vars(modeling_utils.PreTrainedModel)), list(sys.meta_path),
            torch.nn.functional.scaled_dot_product_attention)

    before = state()
    assert "transformers" in swift_attention.install()
    assert swift_attention.install("transformers", "torch") == swift_attention.install()
    assert all(x != y for x, y in zip(before, state()))
    swift_attention.uninstall()
    assert state() == before


def test_an_unknown_framework() -> None:
    with pytest.raises(ValueError, match="frameworks has 'tensorflow'; it must be of"):
        swift_attention.install("tensorflow")
    with pytest.raises(ValueError, match="frameworks has 'tensorflow'; it must be of"):
        swift_attention.uninstall("tensorflow")


def test_scaled_dot_product_attention_of_torch() -> None:
    functional = torch.nn.functional
    query, key, value = torch.randn(3, 2, 4, 7, 16)
    expected = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    swift_attention.install("torch")
    found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(found, expected)
    with pytest.warns(RuntimeWarning, match="dropout_p is 0.5"):
        functional.scaled_dot_product_attention(query, key, value, dropout_p=0.5)
    assert [x.ran for x in swift_attention.report().entries] == [
        "swift_attention", "PyTorch's own"]
    # Its own layers use it without knowing.
    layer = torch.nn.MultiheadAttention(16, 4)
    layer(value[0], value[0], value[0], need_weights=False)
    assert swift_attention.report().entries[0].calls == 2
    with pytest.raises(RuntimeError), pytest.warns(RuntimeWarning, match="key is"):
        functional.scaled_dot_product_attention(query, key[..., :3], value)


def test_diffusers() -> None:
    pytest.importorskip("diffusers")
    from diffusers.models.attention_dispatch import (
        _AttentionBackendRegistry as registry, dispatch_attention_fn)

    query, key, value = torch.randn(3, 2, 7, 4, 16)
    mask = torch.rand(2, 7) > 0.3
    mask[:, 0] = True
    calls = [{}, {"attn_mask": mask}, {"is_causal": True}, {"dropout_p": 1e-30}]
    expected = [dispatch_attention_fn(query, key, value, **each) for each in calls]
    before = dict(registry._backends)
    swift_attention.install("diffusers")
    with pytest.warns(RuntimeWarning, match="dropout_p is 1e-30"):
        found = [dispatch_attention_fn(query, key, value, **each) for each in calls]
    for own, original in zip(found, expected):
        torch.testing.assert_close(own, original)
    assert [(x.ran, x.calls) for x in swift_attention.report().entries] == [
        ("swift_attention", 3), ("_native_attention", 1)]
    swift_attention.uninstall()
    assert registry._backends == before


PROGRAM = """
import sys
import transformers
import torch

model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
    num_attention_heads=2, max_position_embeddings=32))
model(torch.arange(8)[None])
print("swift_attention" in sys.modules, *sys.argv[1:])
if "swift_attention" in sys.modules:
    print([x.ran for x in sys.modules["swift_attention"].report().entries])
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs Python with this package to be found, in another process."""
    folder = str(Path(swift_attention.__file__).parent.parent)
    paths = [folder, os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment})


def test_a_program_unchanged(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    result = run("-m", "swift_attention", "--report", str(program), "--flag", "7")
    assert result.stdout == "True --flag 7\n['swift_attention']\n", result.stderr
    assert "attention of LlamaAttention" in result.stderr
    program.write_text("import swift_attention\n" + PROGRAM)
    result = run(str(program), SWIFT_ATTENTION_INSTALL="1")
    assert result.stdout == "True\n['swift_attention']\n", result.stderr
    result = run(str(program), SWIFT_ATTENTION_INSTALL="0")
    assert result.stdout == "True\n[]\n", result.stderr


def test_wrong_arguments_of_the_program() -> None:
    for arguments, message in (
        ((), "usage:"), (("--quick", "x.py"), "--quick is unknown"),
        (("--install", "jax", "x.py"), "frameworks has 'jax'"),
    ):
        result = run("-m", "swift_attention", *arguments)
        assert (result.returncode, message in result.stderr) == (2, True), result.stderr
