"""mamba_ssm's and causal-conv1d's functions beside loops over tokens in float64."""

from __future__ import annotations

from typing import Optional

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from support import check_against, error
from swift_attention.causal_conv1d import causal_conv1d_fn, causal_conv1d_update
from swift_attention.mamba_ssm import (
    mamba_chunk_scan_combined, mamba_split_conv1d_scan_combined, selective_scan_fn,
    selective_state_update)

SILU = (None, "silu")


def convolved(x: Tensor, weight: Tensor, bias: Optional[Tensor], before: Tensor) -> Tensor:
    """Token by token, after `before` [batch, channels, width − 1]."""
    x, width = torch.cat([before, x], -1), weight.shape[1]
    out = [(x[..., t:t + width] * weight).sum(-1) for t in range(x.shape[-1] - width + 1)]
    out = torch.stack(out, -1)
    return out if bias is None else out + bias[:, None]


@pytest.mark.parametrize("activation", SILU)
@pytest.mark.parametrize("width", [2, 4])
def test_convolution(width: int, activation: Optional[str]) -> None:
    tensors = (
        torch.randn(2, 6, 9), torch.randn(6, width), torch.randn(6),
        torch.randn(2, 6, width - 1))
    act = F.silu if activation else torch.nn.Identity()
    check_against(
        lambda x, w, b, before: causal_conv1d_fn(
            x, w, b, initial_states=before, activation=activation),
        lambda *x: act(convolved(*x)), tensors, f"width {width}")
    x, weight, bias, before = tensors
    memory = torch.empty_like(before)
    _, last = causal_conv1d_fn(
        x, weight, bias, initial_states=before, return_final_states=True, final_states_out=memory)
    assert last is memory and torch.equal(last, x[..., 9 - (width - 1):])


def test_convolution_of_sequences() -> None:
    x, weight, bias = torch.randn(2, 6, 9), torch.randn(6, 4), torch.randn(6)
    numbers = torch.tensor([[0] * 4 + [1] * 5, [3] * 7 + [-1] * 2], dtype=torch.int32)
    found = causal_conv1d_fn(x, weight, bias, seq_idx=numbers, activation="silu")
    for row, pieces in enumerate([(0, 4, 9), (0, 7)]):
        for first, end in zip(pieces, pieces[1:]):
            alone = causal_conv1d_fn(x[row:row + 1, :, first:end], weight, bias, activation="silu")
            torch.testing.assert_close(found[row:row + 1, :, first:end], alone)
    assert not found[1, :, 7:].any()


@pytest.mark.parametrize("capacity", [3, 5])
@pytest.mark.parametrize("is_ring", [False, True])
def test_steps_of_convolution(capacity: int, is_ring: bool) -> None:
    x, weight, bias = torch.randn(2, 6, 9), torch.randn(6, 4), torch.randn(6)
    expected = causal_conv1d_fn(x, weight, bias, activation="swish")
    states, rows = torch.zeros(4, 6, capacity), torch.tensor([3, 1], dtype=torch.int32)
    untouched = states[[0, 2]] + 7
    states[[0, 2]] = untouched
    found, place = [], 0
    for piece in (x[..., 0], x[..., 1:3], x[..., 3:4], x[..., 4:6], x[..., 6:9]):
        options = dict(conv_state_indices=rows, activation="silu")
        if is_ring:
            options["cache_seqlens"] = torch.tensor([place, place], dtype=torch.int32)
        out = causal_conv1d_update(piece, states, weight, bias, **options)
        found.append(out[..., None] if piece.dim() == 2 else out)
        place += found[-1].shape[-1]
    torch.testing.assert_close(torch.cat(found, -1), expected)
    assert torch.equal(states[[0, 2]], untouched)


@pytest.mark.parametrize("is_ring", [False, True])
def test_padded_rows_change_no_state(is_ring: bool) -> None:
    x, weight = torch.randn(3, 6, 2), torch.randn(6, 4)
    states = torch.randn(4, 6, 5)
    rows = torch.tensor([-1, 2, -1], dtype=torch.int32)
    lengths = torch.tensor([3, 3, 3], dtype=torch.int32) if is_ring else None
    expected, before = states[2:3].clone(), states.clone()
    alone = causal_conv1d_update(
        x[1:2], expected, weight, cache_seqlens=None if lengths is None else lengths[:1])
    out = causal_conv1d_update(
        x, states, weight, cache_seqlens=lengths, conv_state_indices=rows)
    torch.testing.assert_close(out[1:2], alone)
    assert not out[[0, 2]].any()
    assert torch.equal(states[2:3], expected)
    assert torch.equal(states[[0, 1, 3]], before[[0, 1, 3]])


def scanned(u, delta, A, B, C, D, z, bias):
    """The selective scan token by token, B and C [batch, groups, states, length]."""
    step = F.softplus(delta + bias[:, None])
    B, C = (x.repeat_interleave(u.shape[1] // x.shape[1], 1) for x in (B, C))
    state, out = u.new_zeros(*u.shape[:2], A.shape[1]), []
    for t in range(u.shape[2]):
        dt = step[..., t, None]
        state = torch.exp(dt * A) * state + dt * B[..., t] * u[..., t, None]
        out.append((state * C[..., t]).sum(-1) + D * u[..., t])
    return torch.stack(out, -1) * F.silu(z), state


@pytest.mark.parametrize("groups", [1, 3])
def test_selective_scan(groups: int) -> None:
    batch, channels, states, length = 2, 6, 5, 7
    wide = (batch, channels, length)
    tensors = (
        torch.randn(wide), torch.randn(wide), -torch.rand(channels, states),
        torch.randn(batch, groups, states, length), torch.randn(batch, groups, states, length),
        torch.randn(channels), torch.randn(wide), torch.randn(channels))
    check_against(
        lambda *x: selective_scan_fn(*x, delta_softplus=True), lambda *x: scanned(*x)[0],
        tensors, f"{groups} groups")
    out, last = selective_scan_fn(*tensors, delta_softplus=True, return_last_state=True)
    expected, state = scanned(*tensors)
    torch.testing.assert_close(last, state, rtol=1e-4, atol=1e-5)
    # Without groups, and what does not depend on the token.
    flat = list(tensors)
    flat[3:5] = flat[3][:, 0], torch.randn(channels, states)
    found = selective_scan_fn(*flat, delta_softplus=True)
    flat[3:5] = flat[3][:, None], flat[4].expand(batch, -1, -1)[..., None].expand(-1, -1, -1, length)
    torch.testing.assert_close(found, scanned(*flat)[0], rtol=1e-4, atol=1e-5)


def test_steps_of_the_selective_scan() -> None:
    batch, channels, states, length = 2, 6, 5, 7
    wide = (batch, channels, length)
    u, delta, z = torch.randn(3, *wide)
    A, D, bias = -torch.rand(channels, states), torch.randn(channels), torch.randn(channels)
    B, C = torch.randn(2, batch, states, length)
    expected, last = selective_scan_fn(
        u, delta, A, B, C, D, z, bias, delta_softplus=True, return_last_state=True)
    states, rows = torch.zeros(3, channels, states), torch.tensor([2, 0])
    found = [
        selective_state_update(
            states, u[..., t], delta[..., t], A, B[..., t], C[..., t], D, z[..., t], bias, True,
            state_batch_indices=rows) for t in range(length)]
    torch.testing.assert_close(torch.stack(found, -1), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(states[rows], last, rtol=1e-4, atol=1e-5)
    assert not states[1].any()


def chunked(x, dt, A, B, C, D, z, bias, before):
    """Mamba-2's scan token by token; states [batch, heads, dimension, states]."""
    step = F.softplus(dt + bias).clamp(0.01, 2.0)
    B, C = (each.repeat_interleave(x.shape[2] // each.shape[2], 2) for each in (B, C))
    state, out = before, []
    for t in range(x.shape[1]):
        decay = torch.exp(step[:, t] * A)[..., None, None]
        written = step[:, t, :, None, None] * x[:, t, ..., None] * B[:, t, :, None]
        state = decay * state + written
        out.append((state * C[:, t, :, None]).sum(-1) + D[:, None] * x[:, t])
    return torch.stack(out, 1) * F.silu(z), state


def mamba2(batch: int = 2, length: int = 9):
    """Arguments of Mamba-2's scan: 4 heads of 8, 2 groups of 5 states."""
    wide, small = (batch, length, 4, 8), (batch, length, 2, 5)
    return [
        torch.randn(wide), torch.randn(batch, length, 4), -torch.rand(4), torch.randn(small),
        torch.randn(small), torch.randn(4), torch.randn(wide), torch.randn(4),
        torch.randn(batch, 4, 8, 5)]


OPTIONS = dict(dt_softplus=True, dt_limit=(0.01, 2.0))


def test_chunk_scan() -> None:
    check_against(
        lambda x, dt, A, B, C, D, z, bias, before: mamba_chunk_scan_combined(
            x, dt, A, B, C, 4, D, z, bias, before, **OPTIONS),
        lambda *x: chunked(*x)[0], mamba2(), "Mamba-2")
    arguments = mamba2()
    x, dt, A, B, C, D, z, bias, before = arguments
    _, last = mamba_chunk_scan_combined(
        x, dt, A, B, C, 4, D, z, bias, before, return_final_states=True, **OPTIONS)
    torch.testing.assert_close(last, chunked(*arguments)[1], rtol=1e-4, atol=1e-5)


def test_chunk_scan_of_sequences() -> None:
    x, dt, A, B, C, D, z, bias, before = mamba2()
    numbers = torch.tensor([[0] * 4 + [1] * 5, [2] * 9], dtype=torch.int32)
    out, last = mamba_chunk_scan_combined(
        x, dt, A, B, C, 4, D, z, bias, before, numbers, return_final_states=True, **OPTIONS)

    def alone(row: int, first: int, end: int, state: Tensor):
        piece = [each[row:row + 1, first:end] for each in (x, dt, B, C, z)]
        return chunked(piece[0], piece[1], A, piece[2], piece[3], D, piece[4], bias, state)

    none = torch.zeros_like(before[:1])
    pieces = [alone(0, 0, 4, before[:1]), alone(0, 4, 9, none), alone(1, 0, 9, before[1:])]
    expected = torch.cat([torch.cat([pieces[0][0], pieces[1][0]], 1), pieces[2][0]])
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        last, torch.cat([pieces[1][1], pieces[2][1]]), rtol=1e-4, atol=1e-4)
    # The last states of sequences in one row.
    one = [each[:1] for each in (x, dt, B, C, z)]
    _, each = mamba_chunk_scan_combined(
        one[0], one[1], A, one[2], one[3], 4, D, one[4], bias, before[:1], numbers[:1],
        torch.tensor([0, 4, 9]), return_varlen_states=True, **OPTIONS)
    torch.testing.assert_close(
        each, torch.cat([pieces[0][1], pieces[1][1]]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("is_before", [False, True])
@pytest.mark.parametrize("has_norm", [False, True])
def test_the_block_of_mamba2(has_norm: bool, is_before: bool) -> None:
    groups, states, heads, dimension, further = 2, 5, 4, 8, 3
    width = heads * dimension
    mixed = width + 2 * groups * states
    columns = torch.randn(2, 9, 2 * further + width + mixed + heads)
    weight, bias, dt_bias = torch.randn(mixed, 4), torch.randn(mixed), torch.randn(heads)
    A, D, norm = -torch.rand(heads), torch.randn(heads), torch.rand(width)
    projection = torch.randn(6, width + further)
    found = mamba_split_conv1d_scan_combined(
        columns, weight, bias, dt_bias, A, D, 4, headdim=dimension, ngroups=groups,
        dt_limit=(0.01, 2.0), rmsnorm_weight=norm if has_norm else None,
        norm_before_gate=is_before, outproj_weight=projection)
    forward, z, xbc, dt = columns.double().split([2 * further, width, mixed, heads], -1)
    xbc = F.silu(convolved(
        xbc.transpose(1, 2), weight.double(), bias.double(), xbc.new_zeros(2, mixed, 3)))
    x, B, C = xbc.transpose(1, 2).split([width, groups * states, groups * states], -1)
    gate = torch.ones_like(z) * 40 if has_norm else z  # silu(40) = 40
    out, _ = chunked(
        x.unflatten(-1, (heads, -1)), dt, A.double(), B.unflatten(-1, (groups, -1)),
        C.unflatten(-1, (groups, -1)), D.double(), gate.unflatten(-1, (heads, -1)),
        dt_bias.double(), x.new_zeros(2, heads, dimension, states))
    out = out.flatten(2)
    if has_norm:
        out = out / 40
        if not is_before:
            out = out * F.silu(z)
        out = F.rms_norm(out.unflatten(-1, (groups, -1)), (width // groups,), eps=1e-6).flatten(-2)
        out = out * norm
        if is_before:
            out = out * F.silu(z)
    first, second = forward.chunk(2, -1)
    out = torch.cat([F.silu(first) * second, out], -1) @ projection.double().T
    assert error(found, out) < 1e-5


def test_what_is_refused() -> None:
    x, dt, A, B, C, *_ = mamba2()
    with pytest.raises(ValueError, match="cu_seqlens is None with return_varlen_states"):
        mamba_chunk_scan_combined(x, dt, A, B, C, 4, return_varlen_states=True)
    with pytest.raises(ValueError, match=r"A is \[3, 2\]; it must be \[6, states\]"):
        selective_scan_fn(torch.ones(1, 6, 2), torch.ones(1, 6, 2), torch.ones(3, 2), B, C)
    with pytest.raises(ValueError, match="activation is 'relu'"):
        causal_conv1d_fn(torch.ones(1, 6, 2), torch.ones(6, 4), activation="relu")
    with pytest.raises(ValueError, match="initial_states is given with seq_idx"):
        causal_conv1d_fn(
            torch.ones(1, 6, 2), torch.ones(6, 4), seq_idx=torch.zeros(1, 2),
            initial_states=torch.ones(1, 6, 3))
