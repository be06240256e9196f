"""Arguments that the functions reject, and their messages."""

from __future__ import annotations

from typing import Callable, Dict

import pytest
import torch
from torch import Tensor

from swift_attention import fla


def _rows(batch: int = 1) -> Dict[str, Tensor]:
    return {key: torch.randn(batch, 6, 2, 4) for key in ("q", "k", "v")}


def _refused(function: Callable[..., object], message: str, error: type = ValueError,
             **arguments: object) -> None:
    with pytest.raises(error, match=message):
        function(**arguments)


@pytest.mark.parametrize("function", [
    fla.chunk_retention, fla.chunk_simple_gla, fla.fused_recurrent_gla, fla.chunk_linear_attn,
    fla.fused_recurrent_retention, fla.parallel_retention], ids=lambda f: f.__name__)
def test_packed_sequences_are_one_row(function: Callable[..., object]) -> None:
    ends = torch.tensor([0, 2, 6])
    _refused(function, "batch size was 2, must be 1", **_rows(2), cu_seqlens=ends)
    if function is not fla.parallel_retention:
        _refused(function, r"initial_state was \[3, 2, 4, 4\], must be", **_rows(), cu_seqlens=ends,
                 initial_state=torch.zeros(3, 2, 4, 4))


@pytest.mark.parametrize("function", [
    fla.chunk_retention, fla.chunk_simple_gla, fla.chunk_delta_rule, fla.chunk_rwkv6,
    fla.chunk_gsa, fla.chunk_gated_delta_rule, fla.chunk_iplr_delta_rule], ids=lambda f: f.__name__)
def test_head_first_is_gone(function: Callable[..., object]) -> None:
    import inspect

    names = [
        name for name, each in inspect.signature(function).parameters.items()
        if each.default is each.empty and each.kind is not each.VAR_KEYWORD
    ]
    row = torch.zeros(1, 6, 2, 4)
    for error in (DeprecationWarning, ValueError):
        _refused(function, "head_first", error, **dict.fromkeys(names, row), head_first=True)
    _refused(function, "surprise", TypeError, **dict.fromkeys(names, row), surprise=1)


def test_removed_functions_name_their_successors() -> None:
    _refused(fla.fused_chunk_gla, "chunk_gla", NotImplementedError)
    _refused(fla.fused_chunk_delta_rule, "chunk_delta_rule", NotImplementedError)


def test_chunk_sizes_are_checked_and_change_nothing() -> None:
    rows = _rows()
    _refused(fla.chunk_simple_gla, "power of 2", **rows, chunk_size=48)
    _refused(fla.chunk_delta_rule, "16 or 32 or 64", **rows, beta=torch.ones(1, 6, 2),
             chunk_size=128)
    assert torch.equal(
        fla.chunk_simple_gla(**rows, chunk_size=16)[0], fla.chunk_simple_gla(**rows)[0])


def test_the_layout_of_states_has_two_names() -> None:
    rows = _rows()
    state = torch.randn(1, 2, 4, 4)
    with pytest.warns(DeprecationWarning, match="state_v_first"):
        old = fla.fused_recurrent_simple_gla(
            **rows, initial_state=state, transpose_state_layout=True)[0]
    new = fla.fused_recurrent_simple_gla(**rows, initial_state=state, state_v_first=True)[0]
    assert torch.equal(old, new)
    _refused(fla.fused_recurrent_simple_gla, "one argument", **rows, state_v_first=True,
             transpose_state_layout=True)


def test_shapes_name_the_argument() -> None:
    rows = _rows()
    beta = torch.ones(1, 6, 2)
    _refused(fla.chunk_gla, "g was", **rows, g=torch.zeros(1, 6, 2, 3))
    _refused(fla.chunk_gla, "initial_state", **rows, g=torch.zeros(1, 6, 2, 4),
             initial_state=torch.zeros(1, 2, 4, 4, dtype=torch.bfloat16))
    _refused(fla.chunk_kda, "beta was", **rows, g=torch.zeros(1, 6, 2, 4), beta=beta[..., :1])
    three = torch.zeros(1, 6, 3)
    _refused(fla.chunk_gated_delta_rule, "v had 3 heads, must have a multiple of the 2 of q",
             **dict(rows, v=torch.zeros(1, 6, 3, 4)), g=three, beta=three)
    _refused(fla.chunk_gated_delta_rule, r"g was \[1, 6, 3\], must be \[B, T, HV\] = \[1, 6, 2\]",
             **rows, g=three, beta=beta)
    _refused(fla.chunk_gsa, "q had 3 heads, must have a multiple of the 2 of k", s=torch.zeros(1, 6, 2, 3),
             **dict(rows, q=torch.zeros(1, 6, 3, 4)))
    _refused(fla.parallel_based, "at most 128", **dict.fromkeys("qkv", torch.zeros(1, 6, 2, 129)))
    _refused(fla.chunk_gated_delta_product, "k was", **rows, g=None, beta=beta, num_householder=2)
    _refused(fla.chunk_log_linear_attn, "at least 4", **rows, g=-beta,
             level_scales=torch.ones(1, 6, 2, 3))


def test_options_that_exclude_each_other() -> None:
    rows, beta = _rows(), torch.ones(1, 6, 2)
    channels = -torch.ones(1, 6, 2, 4)
    _refused(fla.chunk_gated_delta_rule, "use_beta_sigmoid", **rows, g=-beta, beta=beta,
             allow_neg_eigval=True)
    _refused(fla.chunk_gated_delta_rule, "A_log", **rows, g=-beta, beta=beta,
             use_gate_in_kernel=True)
    _refused(fla.chunk_kda, "lower_bound", **rows, g=channels, beta=beta, safe_gate=True,
             use_gate_in_kernel=True)
    _refused(fla.chunk_kda, "cp_context", NotImplementedError, **rows, g=channels, beta=beta,
             cp_context=object())
    _refused(fla.chunk_dplr_delta_rule, "negative", **rows, a=rows["k"], b=rows["k"], gk=channels,
             lower_bound=1.0)
    _refused(fla.fused_recurrent_delta_rule, "scale", **rows, beta=beta, scale=-1.0)
    _refused(fla.parallel_attn, "window_size", **rows, window_size=-1)
    _refused(fla.chunk_precond_kda, "use_qk_l2norm_in_kernel", **rows, g=channels, g_atk=-beta,
             beta_atk=beta, beta=beta, use_qk_l2norm_in_kernel=False)
    _refused(fla.chunk_log_linear_attn, "output_final_state", NotImplementedError, **rows,
             g=-beta, level_scales=torch.ones(1, 6, 2, 4), output_final_state=True)


def test_a_copy_of_the_lengths_is_read_on_the_processor() -> None:
    rows, ends = _rows(), torch.tensor([0, 2, 6])
    expected = fla.chunk_simple_gla(**rows, cu_seqlens=ends)[0]
    assert torch.equal(
        fla.chunk_simple_gla(**rows, cu_seqlens=ends, cu_seqlens_cpu=ends.cpu())[0], expected)
    _refused(fla.chunk_simple_gla, "cu_seqlens_cpu", **rows, cu_seqlens=ends,
             cu_seqlens_cpu=ends[:2].cpu())
