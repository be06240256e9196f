"""Layers: their README example, and equal outputs however a sequence is fed."""

from __future__ import annotations

from typing import Dict, Type

import pytest
import torch
import torch.nn.functional as functional
from references import naive
from torch import Tensor, nn

from swift_attention.fla.layers import GatedLinearAttention, MultiScaleRetention

_LAYERS = [MultiScaleRetention, GatedLinearAttention]
_WIDTH, _HEADS, _LENGTH = 32, 4, 21


def _layer(kind: Type[nn.Module], **options: object) -> nn.Module:
    torch.manual_seed(3)
    return kind(**{"hidden_size": _WIDTH, "num_heads": _HEADS, "layer_idx": 0, **options})


def _inputs(batch: int = 2) -> Tensor:
    torch.manual_seed(4)
    return torch.randn(batch, _LENGTH, _WIDTH)


def test_readme_example(device: torch.device) -> None:
    batch_size, num_heads, seq_len, hidden_size = 2, 4, 128, 64
    dtype = torch.bfloat16
    retnet = MultiScaleRetention(hidden_size=hidden_size, num_heads=num_heads).to(
        device=device, dtype=dtype)
    x = torch.randn(batch_size, seq_len, hidden_size).to(device=device, dtype=dtype)
    y, *_ = retnet(x)
    assert y.shape == (batch_size, seq_len, hidden_size) and y.dtype == dtype
    y.float().square().mean().backward()
    assert all(each.grad is not None for each in retnet.parameters())


def _turned(x: Tensor) -> Tensor:
    """As complex numbers, from the first and the second half of the channels."""
    first, second = x.chunk(2, -1)
    width = first.shape[-1]
    angles = torch.outer(torch.arange(float(x.shape[1])),
                         10000.0 ** (-torch.arange(float(width)) / width)).unsqueeze(1)
    turned = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], -1)


def _gated(weights: Dict[str, Tensor], x: Tensor, mixed: Tensor) -> Tensor:
    normal = mixed * (mixed.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
    normal = normal * weights["g_norm_swish_gate.weight"]
    gate = functional.silu(x @ weights["g_proj.weight"].t()).unflatten(-1, (_HEADS, -1))
    return (normal * gate).flatten(2) @ weights["o_proj.weight"].t()


def test_retention_is_its_definition() -> None:
    layer, x = _layer(MultiScaleRetention), _inputs()
    weights = layer.state_dict()
    q, k, v = (
        (x @ weights[f"{name}_proj.weight"].t()).unflatten(-1, (_HEADS, -1)) for name in "qkv")
    rows = (each.transpose(1, 2) for each in (_turned(q), _turned(k), v))
    mixed = naive("retention/naive").naive_retention(*rows).transpose(1, 2)
    torch.testing.assert_close(layer(x)[0], _gated(weights, x, mixed), rtol=1e-4, atol=1e-5)


def test_gla_is_its_definition() -> None:
    layer, x = _layer(GatedLinearAttention, clamp_min=-0.06), _inputs()
    weights = layer.state_dict()
    q, k, v = (
        (x @ weights[f"{name}_proj.weight"].t()).unflatten(-1, (_HEADS, -1)) for name in "qkv")
    gate = x @ weights["gk_proj.0.weight"].t() @ weights["gk_proj.1.weight"].t()
    gate = functional.logsigmoid(gate + weights["gk_proj.1.bias"]) / 16
    gate = gate.clamp(min=-0.06).unflatten(-1, (_HEADS, -1))
    mixed, _ = naive("gla/naive").naive_recurrent_gla(q, k, v, gate)
    torch.testing.assert_close(layer(x)[0], _gated(weights, x, mixed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [
    {}, {"num_kv_heads": 2}, {"use_short_conv": True, "conv_bias": True},
    {"use_output_gate": False}, {"gate_fn": "gelu", "feature_map": "relu"},
    {"fuse_norm": False, "elementwise_affine": False}], ids=str)
@pytest.mark.parametrize("kind", _LAYERS)
def test_any_way_of_feeding_gives_the_same(kind: Type[nn.Module], options: dict) -> None:
    layer, x = _layer(kind, **options, layer_idx=1), _inputs()
    whole = layer(x)[0]
    cache, steps = None, []
    for piece in x.split([9, 1, 1, 10], dim=1):
        output, _, cache = layer(piece, past_key_values=cache, use_cache=True)
        steps.append(output)
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-4, atol=1e-5)
    assert cache.get_seq_length(1) == _LENGTH and len(cache) == 1

    packed = x.reshape(1, -1, _WIDTH)
    ends = torch.tensor([0, _LENGTH, 2 * _LENGTH])
    torch.testing.assert_close(
        layer(packed, cu_seqlens=ends)[0].reshape(whole.shape), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", _LAYERS)
def test_padding_changes_nothing(kind: Type[nn.Module]) -> None:
    layer, x = _layer(kind), _inputs()
    mask = torch.ones(2, _LENGTH)
    mask[1, :8] = 0
    padded, _, cache = layer(x, attention_mask=mask, use_cache=True)
    short, _, own = layer(x[1:, 8:], use_cache=True)
    torch.testing.assert_close(padded[:1], layer(x[:1])[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(padded[1:, 8:], short, rtol=1e-4, atol=1e-5)
    assert not padded[1, :8].any()
    following = torch.randn(2, 1, _WIDTH)
    mask = torch.cat([mask, torch.ones(2, 1)], 1)
    both, _, _ = layer(following, attention_mask=mask, past_key_values=cache, use_cache=True)
    alone, _, _ = layer(following[1:], past_key_values=own, use_cache=True)
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="mode"):
        _layer(MultiScaleRetention, mode="fast")
    with pytest.raises(ValueError, match="expand_k"):
        _layer(GatedLinearAttention, num_heads=3)
    with pytest.raises(ValueError, match="num_kv_heads"):
        _layer(GatedLinearAttention, num_kv_heads=3)
    with pytest.raises(ValueError, match="activation"):
        _layer(GatedLinearAttention, feature_map="fast")
    with pytest.raises(ValueError, match="attention_mask"):
        _layer(GatedLinearAttention)(_inputs(), attention_mask=torch.ones(2, 3, 4))
    with pytest.raises(TypeError, match="unknown"):
        _layer(GatedLinearAttention)(_inputs(), unknown=1)
