"""The GLA model of flash-linear-attention's README."""

from __future__ import annotations

from typing import Any

import pytest
import torch

transformers = pytest.importorskip(
    "transformers", reason="the model is one of the package transformers")
# Not before it is known that there is transformers.
from swift_attention.fla import models  # noqa: E402


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


@pytest.mark.parametrize("use_short_conv", [False, True])
def test_generation_goes_on_from_its_states(use_short_conv: bool) -> None:
    model = _model(use_short_conv=use_short_conv)
    prompt = torch.randint(3, 64, (2, 7))
    options = dict(max_new_tokens=9, do_sample=False, eos_token_id=None, pad_token_id=0)
    cached = model.generate(prompt, **options)
    assert cached.shape == (2, 16)
    assert torch.equal(cached, model.generate(prompt, use_cache=False, **options))


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
