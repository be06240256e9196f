"""Tensors that are not plain memory: converted, or rejected by name."""

from __future__ import annotations

import warnings
from typing import Callable, Dict

import pytest
import torch
import torch.nn.functional as F
from support import error
from torch import Tensor
from torch.masked import masked_tensor
from torch.nn.attention.bias import CausalBias, causal_lower_right, causal_upper_left

from swift_attention import attention, fla, flash_cosine_sim_attention, scaled_dot_product_attention


def _rows(queries: int, keys: int, dtype: torch.dtype = torch.float32, heads: int = 2) -> list:
    return [
        torch.randn(1, 4, queries, 8).to(dtype), torch.randn(1, heads, keys, 8).to(dtype),
        torch.randn(1, heads, keys, 6).to(dtype)]


def _is_seen(bias: CausalBias) -> Tensor:
    offset = 0 if bias.variant.name == "UPPER_LEFT" else bias.seq_len_kv - bias.seq_len_q
    return torch.ones(bias.seq_len_q, bias.seq_len_kv, dtype=torch.bool).tril(offset)


@pytest.mark.parametrize("make", [causal_upper_left, causal_lower_right])
@pytest.mark.parametrize("queries, keys", [(5, 5), (3, 5), (1, 7)])
def test_causal_bias(make: Callable[..., CausalBias], queries: int, keys: int) -> None:
    """Its type says what is masked; its memory has never been written."""
    q, k, v = _rows(queries, keys)
    bias = make(queries, keys)
    for _ in range(2):
        output = scaled_dot_product_attention(q, k, v, bias, enable_gqa=True)
        assert type(output) is Tensor
        expected = F.scaled_dot_product_attention(q, k, v, _is_seen(bias), enable_gqa=True)
        assert error(output, expected) < 1e-6
    # What is cached for it does not affect a call without a mask.
    everything = scaled_dot_product_attention(q, k, v, enable_gqa=True)
    assert error(everything, F.scaled_dot_product_attention(q, k, v, enable_gqa=True)) < 1e-6


def test_causal_bias_has_gradients() -> None:
    rows = [x.requires_grad_() for x in _rows(3, 5, heads=4)]
    bias = causal_lower_right(3, 5)
    found, expected = (
        torch.autograd.grad(function(*rows, mask).square().sum(), rows)
        for function, mask in (
            (scaled_dot_product_attention, bias),
            (F.scaled_dot_product_attention, _is_seen(bias))))
    for x, reference in zip(found, expected):
        assert error(x, reference) < 1e-5


def test_causal_bias_without_keys() -> None:
    """Lower right, a query before all keys gets zeros."""
    q, k, v = _rows(5, 3, heads=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bias = causal_lower_right(5, 3)
    output = scaled_dot_product_attention(q, k, v, bias)
    assert not output[:, :, :2].any()
    expected = F.scaled_dot_product_attention(q[:, :, 2:], k, v, _is_seen(bias)[2:])
    assert error(output[:, :, 2:], expected) < 1e-6


def test_causal_bias_where_it_does_not_belong() -> None:
    q, k, v = _rows(4, 4, heads=4)
    bias = causal_lower_right(4, 4)
    rows = [x.transpose(1, 2) for x in (q, k, v)]
    for name, call in {
        "attn_mask": lambda: scaled_dot_product_attention(q, k, v, causal_lower_right(4, 5)),
        "is_causal": lambda: scaled_dot_product_attention(q, k, v, bias, is_causal=True),
        "query": lambda: scaled_dot_product_attention(bias, k, v),
        "attn_bias": lambda: flash_cosine_sim_attention(q, k, v, attn_bias=bias),
        "bias": lambda: attention(*rows, bias=bias),
        "key_mask": lambda: attention(*rows, key_mask=bias),
        "sinks": lambda: attention(*rows, sinks=bias),
        "g": lambda: fla.chunk_gla(q, k, k, bias),
        "initial_state": lambda: fla.chunk_gla(q, k, k, k, initial_state=bias),
    }.items():
        with pytest.raises((TypeError, ValueError), match=f"^{name} is "):
            call()


_NESTED = "nested tensor"
_KINDS: Dict[str, Callable[[Tensor], Tensor]] = {
    _NESTED: lambda x: torch.nested.nested_tensor(list(x)),
    "jagged nested tensor": lambda x: torch.nested.nested_tensor(list(x), layout=torch.jagged),
    "sparse_coo": lambda x: x.to_sparse(),
    "sparse_csr": lambda x: x[0, 0].to_sparse_csr(),
    "mkldnn": lambda x: x.to_mkldnn(),
    "MaskedTensor": lambda x: masked_tensor(x, x > 0),
    "qint8": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
    "complex64": lambda x: x.to(torch.complex64).conj(),
    "bool": lambda x: x > 0,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", _KINDS)
def test_other_kinds_are_refused_by_name(kind: str) -> None:
    x = torch.randn(2, 4, 4, 4)
    odd = _KINDS[kind](x)
    calls = {
        "query": lambda: scaled_dot_product_attention(odd, x, x),
        "value": lambda: scaled_dot_product_attention(x, x, odd),
        "q": lambda: flash_cosine_sim_attention(odd, x, x),
        "queries": lambda: attention(odd, x, x),
        "logit_decay": lambda: attention(x, x, x, logit_decay=odd),
        "k": lambda: fla.chunk_gla(x, odd, x, x),
        "beta": lambda: fla.chunk_delta_rule(x, x, x, odd),
        "g": lambda: fla.fused_gdn_gate(odd, x[0, 0, 0]),
    }
    if kind != "bool":
        calls["attn_mask"] = lambda: scaled_dot_product_attention(x, x, x, odd)
        calls["attn_bias"] = lambda: flash_cosine_sim_attention(x, x, x, attn_bias=odd)
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"^{name} is ") as raised:
            call()
        assert kind.split()[-1] in str(raised.value)


def test_negated_views_and_parameters_are_read_as_they_are() -> None:
    q, k, v = _rows(4, 4, heads=4)
    expected = scaled_dot_product_attention(-q, k, v)
    assert error(scaled_dot_product_attention(torch._neg_view(q), k, v), expected) < 1e-6
    parameter = torch.nn.Parameter(-q)
    assert error(scaled_dot_product_attention(parameter, k, v), expected) < 1e-6


class _Wrapper(torch.Tensor):
    """A tensor whose memory is elsewhere; it records the dispatcher's calls and forwards them."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> _Wrapper:
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype)
        wrapper.inner = inner
        return wrapper

    asked: list = []

    @classmethod
    def __torch_dispatch__(cls, operator, types, arguments=(), options=None):  # type: ignore
        cls.asked.append(str(operator))
        plain = [x.inner if isinstance(x, cls) else x for x in arguments]
        return operator(*plain, **(options or {}))


def test_a_subclass_is_asked_by_the_dispatcher() -> None:
    q, k, v = _rows(4, 4, heads=4)
    _Wrapper.asked.clear()
    output = scaled_dot_product_attention(_Wrapper(q), k, v)
    assert _Wrapper.asked == ["swift_attention.attention.default"]
    assert torch.equal(output, scaled_dot_product_attention(q, k, v))
    _Wrapper.asked.clear()
    g = -torch.rand_like(q)
    output, _ = fla.chunk_gla(q, k, q, _Wrapper(g))
    assert _Wrapper.asked == ["swift_attention.linear_attention.default"]
    assert torch.equal(output, fla.chunk_gla(q, k, q, g)[0])


def test_tensors_without_memory_are_refused() -> None:
    q, k, v = _rows(4, 4, heads=4)
    freed = k.clone()
    freed.untyped_storage().resize_(0)
    for empty in (torch._efficientzerotensor(1, 4, 4, 8), freed):
        with pytest.raises(ValueError, match="key"):
            scaled_dot_product_attention(q, empty, v)


def test_mistakes_are_runtime_errors_too() -> None:
    """Like those of `torch.nn.functional.scaled_dot_product_attention`."""
    q, k, v = _rows(4, 4, heads=4)
    for wrong in (k[..., :7], k.half(), k.int(), k[:, :3]):
        for function in (F.scaled_dot_product_attention, scaled_dot_product_attention):
            with pytest.raises(RuntimeError):
                function(q, wrong, v)
