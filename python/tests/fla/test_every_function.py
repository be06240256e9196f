"""Every function without tokens, and with tensors of different dtypes."""

from __future__ import annotations

import inspect
from typing import Optional

import pytest
import torch
from arguments import ARGUMENTS, function
from comparison import error, flat

_NAMES = sorted(ARGUMENTS)
_WITH_TOKENS = [name for name in _NAMES if name != "mesa_net_decoding_one_step"]
# Sums over all tokens, so half-precision results are far from float32.
_TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 4e-3, torch.float32: 1e-4}


@pytest.mark.parametrize("sequences", [None, 0, 3])
@pytest.mark.parametrize("name", _WITH_TOKENS)
def test_no_tokens(name: str, sequences: Optional[int]) -> None:
    """Outputs are empty, final states are the initial ones, and gradients exist.

    Without packing, with no sequence, and with several empty sequences.
    """
    arguments = ARGUMENTS[name]
    parameters = inspect.signature(function(name)).parameters
    more = {}
    if "output_final_state" in parameters and name != "chunk_log_linear_attn":
        more["output_final_state"] = True
    sizes = dict(T=0)
    is_step = name == "attn_decoding_one_step"
    if is_step:
        arguments = arguments._replace(options={})
    if sequences is not None or is_step:
        if "cu_seqlens" not in parameters:
            pytest.skip("sequences cannot be packed")
        sizes.update(B=1, N=3 if sequences is None else sequences)
        more["cu_seqlens"] = torch.zeros(sizes["N"] + 1, dtype=torch.int64)
    tensors = {key: x.requires_grad_() for key, x in arguments.drawn(**sizes).items()}
    results = list(flat(arguments.call(function(name), tensors, **more)))
    if is_step:
        assert results[0].shape == (1, sizes["N"], 4, 6) and not results[0].any()
    else:
        assert results[0].numel() == 0 and results[0].shape[1] == 0
    if "output_final_state" in more:
        states = [key for key in tensors if key.startswith(("initial", "h_k"))]
        # S is returned before A.
        initial = [tensors[key] for key in sorted(states, key=len)]
        finals = results[-len(initial):]
        # Slots of log sums are unchanged except for taking the logarithm of their exponential.
        for x, expected in zip(finals, initial):
            torch.testing.assert_close(x, expected, rtol=1e-6, atol=1e-6)
    if any(x.requires_grad for x in results):
        torch.autograd.backward([x.sum() for x in results if x.requires_grad])
        for key, x in tensors.items():
            assert x.grad is None or x.grad.isfinite().all(), f"d{key}"


@pytest.mark.parametrize("dtypes", [
    (torch.bfloat16, torch.float32, torch.float16), (torch.float32, torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.float16, torch.bfloat16)], ids=str)
@pytest.mark.parametrize("name", _NAMES)
def test_several_dtypes(name: str, dtypes: tuple) -> None:
    """Of queries, keys and values: the output has the queries' dtype and the same numbers."""
    arguments = ARGUMENTS[name]
    tensors = arguments.drawn()
    rows = [key for key in ("q", "r", "x", "k", "v") if key in tensors]
    for key, dtype in zip(rows, dtypes):
        tensors[key] = tensors[key].to(dtype)
    results = list(flat(arguments.call(function(name), tensors)))
    expected = list(flat(arguments.call(
        function(name), {key: x.float() for key, x in tensors.items()})))
    if rows:
        # The original has the values' dtype there.
        is_of_values = name == "chunk_log_linear_attn"
        assert results[0].dtype == (tensors["v"] if is_of_values else tensors[rows[0]]).dtype
    # Some tensors are rounded to half precision before use, for example keys from a softmax.
    bound = max(_TOLERANCE[dtype] for dtype in dtypes[:len(rows)] or [torch.float32])
    for x, reference in zip(results, expected):
        assert error(x, reference) < bound


@pytest.mark.parametrize("name", ["chunk_kda", "chunk_gdn2"])
@pytest.mark.parametrize("sequences", [None, 0, 3])
def test_no_tokens_have_no_intermediate_states(name: str, sequences: Optional[int]) -> None:
    arguments = ARGUMENTS[name]
    more, sizes = {}, dict(T=0)
    if sequences is not None:
        more["cu_seqlens"] = torch.zeros(sequences + 1, dtype=torch.int64)
        sizes.update(B=1, N=sequences)
    tensors = arguments.drawn(**sizes)
    output, final, before = arguments.call(
        function(name), tensors, output_final_state=True, return_intermediate_states=True, **more)
    assert output.numel() == 0 and torch.equal(final, tensors["initial_state"])
    batch = tensors["v"].shape[0]
    assert before.shape == (batch, 0, *tensors["initial_state"].shape[1:])


@pytest.mark.parametrize("name", _NAMES)
def test_every_function_is_one_graph(name: str) -> None:
    """Checks and gates do not break the graph of `torch.compile`."""
    arguments = ARGUMENTS[name]
    tensors = arguments.drawn()
    if "cu_seqlens" in arguments.options:
        pytest.skip("how many keys each sequence has is known when it runs")
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda **tensors: arguments.call(function(name), tensors), backend="eager", fullgraph=True)
    expected = flat(arguments.call(function(name), tensors))
    for x, reference in zip(flat(compiled(**tensors)), expected):
        assert error(x, reference) < 1e-5
