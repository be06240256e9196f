"""The GLA model of flash-linear-attention's README."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, Iterator, List

import pytest
import torch
from references import models as models_of_the_original
from torch import Tensor

transformers = pytest.importorskip(
    "transformers", reason="the model is one of the package transformers")
# Only after checking that transformers is installed.
from swift_attention.fla import _losses as losses  # noqa: E402
from swift_attention.fla import models  # noqa: E402
from swift_attention.fla._generation import OUTPUT_CACHE  # noqa: E402
from swift_attention.fla.layers import Cache  # noqa: E402


def _config(**options: Any) -> Any:
    return models.GLAConfig(**{
        "hidden_size": 32, "num_heads": 2, "num_hidden_layers": 2, "vocab_size": 64,
        "intermediate_size": 48, **options})


def _model(**options: Any) -> Any:
    torch.manual_seed(5)
    return transformers.AutoModelForCausalLM.from_config(_config(**options)).eval()


def test_readme_example() -> None:
    config = models.GLAConfig()
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (2048, 24, 32000)
    model = _model()
    assert {name for name, _ in model.named_parameters() if "layers" not in name} == {
        "model.embeddings.weight", "model.norm.weight", "lm_head.weight"}
    assert {name for name, _ in model.model.layers[0].named_parameters()} == {
        "attn_norm.weight", "attn.q_proj.weight", "attn.k_proj.weight", "attn.v_proj.weight",
        "attn.g_proj.weight", "attn.gk_proj.0.weight", "attn.gk_proj.1.weight",
        "attn.gk_proj.1.bias", "attn.o_proj.weight", "attn.g_norm_swish_gate.weight",
        "mlp_norm.weight", "mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"}


_GREEDY = dict(max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)


@pytest.fixture(params=[False, True], ids=["", "short convolutions"])
def model(request: pytest.FixtureRequest) -> Any:
    return _model(use_short_conv=request.param)


@contextlib.contextmanager
def _lengths_read(model: Any) -> Iterator[List[int]]:
    """The number of tokens per row that each call reads."""
    lengths: List[int] = []
    hook = model.model.layers[0].register_forward_pre_hook(
        lambda layer, arguments: lengths.append(arguments[0].shape[1]))
    try:
        yield lengths
    finally:
        hook.remove()


def _tokens(*shape: int) -> Tensor:
    return torch.randint(3, 64, shape)


def test_generation_goes_on_from_its_states(model: Any) -> None:
    prompt = _tokens(2, 12)
    with _lengths_read(model) as lengths:
        cached = model.generate(prompt, **_GREEDY)
    assert lengths == [12, 1, 1, 1] and cached.shape == (2, 16)
    with _lengths_read(model) as lengths:
        again = model.generate(prompt, use_cache=False, **_GREEDY)
    assert lengths == [12, 13, 14, 15] and torch.equal(again, cached)


def test_padded_prompts_generate_what_they_do_alone(model: Any) -> None:
    prompt, mask = _tokens(3, 12), torch.ones(3, 12, dtype=torch.long)
    mask[1, :5], mask[2, :11] = 0, 0
    with _lengths_read(model) as lengths:
        together = model.generate(prompt, attention_mask=mask, **_GREEDY)
    assert lengths == [12, 1, 1, 1]
    for row, tokens, own in zip(together, prompt, mask.bool()):
        assert torch.equal(row[12:], model.generate(tokens[None, own], **_GREEDY)[0, own.sum():])


def test_beams_take_their_states_along(model: Any) -> None:
    prompt, mask = _tokens(2, 12), torch.ones(2, 12, dtype=torch.long)
    mask[1, :5] = 0
    options = dict(_GREEDY, max_new_tokens=8, num_beams=3, attention_mask=mask)
    with _lengths_read(model) as lengths:
        cached = model.generate(prompt, **options)
    assert lengths == [12] + [1] * 7
    assert torch.equal(cached, model.generate(prompt, use_cache=False, **options))


def test_several_sequences_of_a_prompt(model: Any) -> None:
    prompt = _tokens(1, 5)
    options = dict(_GREEDY, do_sample=True, num_return_sequences=4)
    results = []
    for use_cache in (True, False):
        torch.manual_seed(9)
        results.append(model.generate(prompt, use_cache=use_cache, **options))
    assert results[0].shape == (4, 9) and torch.equal(*results)


def test_generation_goes_on_from_a_given_cache(model: Any) -> None:
    """The whole text is given again, or the new tokens with the whole mask."""
    prompt = _tokens(2, 12)
    expected = model.generate(prompt, **_GREEDY)
    for tokens in (prompt, prompt[:, 9:]):
        cache = Cache()
        model(prompt[:, :9], past_key_values=cache, use_cache=True)
        with _lengths_read(model) as lengths:
            found = model.generate(
                tokens, attention_mask=torch.ones(2, 12), **{OUTPUT_CACHE: cache}, **_GREEDY)
        assert lengths == [3, 1, 1, 1] and torch.equal(found[:, -4:], expected[:, 12:])


def test_generation_from_embeddings(model: Any) -> None:
    prompt = _tokens(2, 12)
    expected = model.generate(prompt, **_GREEDY)[:, 12:]
    embeddings = model.get_input_embeddings()(prompt)
    with _lengths_read(model) as lengths:
        found = model.generate(inputs_embeds=embeddings, **_GREEDY)
    assert lengths == [12, 1, 1, 1] and torch.equal(found, expected)


@pytest.mark.parametrize("name", ["past_key_values", "cache_params", "cache"])
def test_any_name_of_the_cache(model: Any, name: str) -> None:
    """Versions of Transformers use different names, and each supports one."""
    tokens = _tokens(2, 7)
    whole = model(tokens).logits
    for cache in (Cache(), models_of_the_original("cache_utils").Cache()):
        first = model(tokens[:, :4], use_cache=True, **{name: cache})
        second = model(tokens[:, 4:], use_cache=True, **{name: cache})
        found = torch.cat([first.logits, second.logits], 1)
        torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)
        assert _cache_of(second) is cache and cache.get_seq_length() == 7
        prepared = model.prepare_inputs_for_generation(
            tokens, attention_mask=torch.ones(2, 8), **{name: cache})
        assert prepared["input_ids"].shape == (2, 1)
        assert any(value is cache for value in prepared.values())


@pytest.mark.parametrize("given, expected", [
    ({"next_sequence_length": 2}, 2), ({"next_sequence_length": None}, 9),
    ({"cache_position": torch.tensor([8])}, 1), ({}, 3)], ids=str)
def test_versions_count_new_tokens_in_their_ways(given: dict, expected: int) -> None:
    model, tokens, cache = _model(), _tokens(1, 9), Cache()
    model(tokens[:, :6], past_key_values=cache, use_cache=True)
    prepared = model.prepare_inputs_for_generation(tokens, past_key_values=cache, **given)
    assert torch.equal(prepared["input_ids"], tokens[:, 9 - expected:])


def test_wrong_caches() -> None:
    model, tokens = _model(), _tokens(1, 3)
    with pytest.raises(ValueError, match="past_key_values and cache were given"):
        model(tokens, past_key_values=Cache(), cache=Cache())
    other = transformers.DynamicCache()
    model(tokens, past_key_values=other, use_cache=True)
    other.update(torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4), 0)
    with pytest.raises(TypeError, match="past_key_values was DynamicCache"):
        model(tokens, past_key_values=other, use_cache=True)
    with pytest.raises(ValueError, match="stateful"):
        model.generate(tokens, assistant_model=_model(), **_GREEDY)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activation_checkpointing(model: Any, use_reentrant: bool) -> None:
    tokens, calls = _tokens(2, 10), []
    model.train()

    def gradients() -> List[Tensor]:
        model.zero_grad()
        model(tokens, labels=tokens).loss.backward()
        return [each.grad.clone() for each in model.parameters()]

    expected = gradients()
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(None))
    with warnings.catch_warnings():
        # Later versions use another name, which earlier ones lack.
        warnings.simplefilter("ignore", FutureWarning)
        model.gradient_checkpointing_enable(dict(use_reentrant=use_reentrant))
    for found, reference in zip(gradients(), expected):
        torch.testing.assert_close(found, reference)
    assert len(calls) == 2, "the layer was not run again for its gradients"
    assert _cache_of(model(tokens, use_cache=True)) is None
    with torch.no_grad():
        model.eval()
        assert len(_cache_of(model(tokens, use_cache=True))) == 2


def _cache_of(outputs: Any) -> Any:
    return outputs.get(OUTPUT_CACHE)


def test_training_and_packing() -> None:
    model = _model().train()
    tokens = torch.randint(0, 64, (2, 10))
    outputs = model(tokens, labels=tokens)
    assert outputs.logits.shape == (2, 10, 64) and outputs.past_key_values is None
    outputs.loss.backward()
    assert all(each.grad is not None for each in model.parameters())
    packed = model(tokens.reshape(1, -1), cu_seqlens=torch.tensor([0, 10, 20])).logits
    torch.testing.assert_close(packed.reshape(2, 10, 64), outputs.logits, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="input_ids"):
        model()
    with pytest.raises(NotImplementedError, match="attn"):
        _config(attn={"layers": [1]})


def test_a_saved_model_is_read(tmp_path: Any) -> None:
    model = _model()
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokens = torch.randint(0, 64, (1, 5))
    assert torch.equal(model(tokens).logits, again(tokens).logits)


# --- Losses


def _trained(**options: Any) -> tuple:
    """Loss, logits and gradients of a model with these options and the same parameters."""
    model = _model(**options).train()
    tokens = torch.arange(3 * 700).view(3, 700) * 7 % 64
    labels = tokens.clone()
    labels[1, 5:600] = -100
    outputs = model(tokens, labels=labels)
    (outputs.loss * 3).backward()
    return outputs, {name: x.grad for name, x in model.named_parameters()}


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("has_penalty", [False, True])
def test_the_fused_loss_is_the_same(has_penalty: bool, is_tied: bool) -> None:
    options = dict(use_l2warp=has_penalty, tie_word_embeddings=is_tied)
    plain, expected = _trained(**options)
    fused, found = _trained(
        **options, fuse_cross_entropy=False, fuse_linear_cross_entropy=True)
    assert fused.logits is None and plain.logits.shape == (3, 700, 64)
    torch.testing.assert_close(fused.loss, plain.loss)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-7)


def test_the_penalty_is_the_original_s() -> None:
    """10⁻⁴ / tokens times the largest logit of each token, added to the gradient of the logits."""
    torch.manual_seed(3)
    logits = (torch.randn(2, 5, 16) * 10).requires_grad_()
    loss = losses.penalty_of_largest(logits, 10)
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss * 3, logits)
    largest, places = logits.detach().max(-1, keepdim=True)
    expected = torch.zeros_like(logits).scatter(-1, places, largest * 3 * 1e-4 / 10)
    torch.testing.assert_close(gradient, expected)
    plain, found = (_trained(use_l2warp=flag) for flag in (False, True))
    assert torch.equal(plain[0].loss, found[0].loss)
    assert not torch.allclose(plain[1]["lm_head.weight"], found[1]["lm_head.weight"], rtol=1e-6)


def test_what_the_configuration_cannot_do_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="attnres_block_size was 1, must be None"):
        _config(attnres_block_size=1)
    with pytest.raises(NotImplementedError, match="attn must be None"):
        _config(attn={"layers": [0]})
    with pytest.raises(ValueError, match="fuse_cross_entropy"):
        _config(fuse_linear_cross_entropy=True)
