"""mamba_ssm's functions: Mamba's selective scan and Mamba-2's, on CPUs too.

    from swift_attention.mamba_ssm import selective_scan_fn, mamba_chunk_scan_combined

Arguments, defaults and shapes are those of mamba_ssm 2. `mamba_chunk_scan_combined` runs on linear
attention, `selective_scan_fn` on the gated scan; what stands around them, and the single steps of
decoding, are PyTorch's operations.
"""

from __future__ import annotations

from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from ._operators.gated_scan import gated_scan
from ._operators.linear_attention import linear_attention
from .causal_conv1d import causal_conv1d_fn

__all__ = [
    "mamba_chunk_scan_combined",
    "mamba_split_conv1d_scan_combined",
    "selective_scan_fn",
    "selective_state_update",
]

_UNLIMITED = (0.0, float("inf"))


def selective_scan_fn(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Optional[Tensor] = None,
    z: Optional[Tensor] = None,
    delta_bias: Optional[Tensor] = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """h = exp(Δ A) h + Δ B u, y = C h + D u, times silu(z).

    Memory is that of all states: 16 · batch · channels · states · length bytes, a few times over.

    Args:
        u: [batch, channels, length].
        delta: [batch, channels, length].
        A: [channels, states], real, at most 0 where Δ is at least 0.
        B: [channels, states], [batch, states, length] or [batch, groups, states, length].
        C: As B.
        D: [channels].
        z: [batch, channels, length].
        delta_bias: [channels].
        delta_softplus: Whether Δ = softplus(delta + delta_bias).
        return_last_state: Whether the last h, float32 [batch, channels, states], is returned too.

    Raises:
        ValueError: An invalid argument; the message names it.
    """
    if u.dim() != 3 or delta.shape != u.shape:
        raise ValueError(
            f"u and delta are {list(u.shape)} and {list(delta.shape)}; both must be"
            " [batch, channels, length]")
    batch, channels, length = u.shape
    if A.dim() != 2 or A.shape[0] != channels:
        raise ValueError(f"A is {list(A.shape)}; it must be [{channels}, states]")
    for name, tensor in (("A", A), ("B", B), ("C", C)):
        if tensor.is_complex():
            raise ValueError(f"{name} is complex; it must be real")
    states = A.shape[1]
    step = _step(delta.float(), None if delta_bias is None else delta_bias[:, None], delta_softplus)
    step = step.transpose(1, 2)
    inputs = u.float().transpose(1, 2)
    writes, reads = (
        _per_token(name, each, batch, channels, states, length)
        for name, each in (("B", B), ("C", C)))
    # [b, t, d, n] as channels of one scan.
    decay = (step[..., None] * A.float()).flatten(2)
    written = ((step * inputs)[..., None] * writes).flatten(2)
    every, last = gated_scan(written, decay)
    out = (every.view(batch, length, channels, states) * reads).sum(-1)
    if D is not None:
        out = out + inputs * D.float()
    out = out.transpose(1, 2)
    if z is not None:
        out = out * F.silu(z.float())
    out = out.to(u.dtype)
    return (out, last.view(batch, channels, states)) if return_last_state else out


def _per_token(
    name: str, x: Tensor, batch: int, channels: int, states: int, length: int
) -> Tensor:
    """B or C, float32, broadcast to [batch, length, channels, states]."""
    x = x.float()
    if x.dim() == 2 and x.shape == (channels, states):
        return x
    if x.dim() == 3 and x.shape == (batch, states, length):
        return x.transpose(1, 2)[:, :, None]
    if x.dim() == 4 and x.shape[::2] == (batch, states) and x.shape[3] == length:
        if x.shape[1] and channels % x.shape[1] == 0:
            return x.permute(0, 3, 1, 2).repeat_interleave(channels // x.shape[1], 2)
    raise ValueError(
        f"{name} is {list(x.shape)}; it must be [{channels}, {states}], [{batch}, {states},"
        f" {length}] or [{batch}, groups, {states}, {length}], the groups dividing the channels")


@torch.no_grad()
def selective_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Optional[Tensor] = None,
    z: Optional[Tensor] = None,
    dt_bias: Optional[Tensor] = None,
    dt_softplus: bool = False,
    state_batch_indices: Optional[Tensor] = None,
) -> Tensor:
    """One token of `selective_scan_fn`; `state` is updated in place. Without gradients.

    Args:
        state: [batch, channels, states] or [batch, heads, channels, states].
        x: [batch, channels] or [batch, heads, channels].
        dt: As x.
        A: [channels, states] or [heads, channels, states].
        B: [batch, states] or [batch, groups, states].
        C: As B.
        D: [channels] or [heads, channels].
        z: As x.
        dt_bias: As D.
        dt_softplus: Whether Δ = softplus(dt + dt_bias).
        state_batch_indices: int32 [batch]: the rows of `state`; by default all.

    Raises:
        ValueError: An invalid argument; the message names it.
    """
    has_heads = state.dim() > 3

    def with_heads(tensor: Optional[Tensor], axis: int) -> Optional[Tensor]:
        return tensor if tensor is None or has_heads else tensor.unsqueeze(axis)

    own = with_heads(state, 1)
    x, dt, z = (with_heads(each, 1) for each in (x, dt, z))
    A, D, dt_bias = (with_heads(each, 0) for each in (A, D, dt_bias))
    B, C = (each if each.dim() > 2 else each[:, None] for each in (B, C))
    batch, heads, channels = x.shape
    states = own.shape[-1]
    rows = None if state_batch_indices is None else state_batch_indices.long()
    before = own if rows is None else own[rows]
    expected = (batch, heads, channels, states)
    if before.shape != expected or A.shape != expected[1:] or dt.shape != x.shape:
        raise ValueError(
            f"state, A and dt are {list(state.shape)}, {list(A.shape)} and {list(dt.shape)}; they"
            f" must fit x, {list(x.shape)}")
    if B.shape != C.shape or B.shape[::2] != (batch, states) or heads % B.shape[1]:
        raise ValueError(
            f"B and C are {list(B.shape)} and {list(C.shape)}; they must be [{batch}, groups,"
            f" {states}], the groups dividing {heads}")
    step = _step(dt.float(), dt_bias, dt_softplus)[..., None]
    writes, reads = (
        each.float().repeat_interleave(heads // each.shape[1], 1)[:, :, None] for each in (B, C))
    after = before.float() * torch.exp(step * A.float()) + step * writes * x.float()[..., None]
    if rows is None:
        own.copy_(after)
    else:
        own[rows] = after.to(own.dtype)
    out = (after * reads).sum(-1)
    if D is not None:
        out = out + x.float() * D.float()
    if z is not None:
        out = out * F.silu(z.float())
    out = out.to(x.dtype)
    return out if has_heads else out[:, 0]


def mamba_chunk_scan_combined(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Optional[Tensor] = None,
    z: Optional[Tensor] = None,
    dt_bias: Optional[Tensor] = None,
    initial_states: Optional[Tensor] = None,
    seq_idx: Optional[Tensor] = None,
    cu_seqlens: Optional[Tensor] = None,
    dt_softplus: bool = False,
    dt_limit: Tuple[float, float] = _UNLIMITED,
    return_final_states: bool = False,
    return_varlen_states: bool = False,
    state_dtype: Optional[torch.dtype] = None,
) -> Union[Tensor, Tuple[Tensor, ...]]:
    """S = exp(Δ A) S + Δ x Bᵀ, y = S C + D x, times silu(z).

    Args:
        x: [batch, length, heads, dimension].
        dt: [batch, length, heads].
        A: [heads], at most 0.
        B: [batch, length, groups, states], the groups dividing the heads.
        C: As B.
        chunk_size: Not read: the kernel decides.
        D: [heads] or [heads, dimension].
        z: As x.
        dt_bias: [heads].
        initial_states: [batch, heads, dimension, states].
        seq_idx: [batch, length]: tokens of different numbers do not see each other; the initial
            state is that of each row's first.
        cu_seqlens: int [sequences + 1], batch 1: where the sequences begin whose last states
            `return_varlen_states` asks for; with `seq_idx` of the same sequences.
        dt_softplus: Whether Δ = softplus(dt + dt_bias).
        dt_limit: Bounds of Δ.
        return_final_states: Whether the last states [batch, heads, dimension, states] are
            returned too.
        return_varlen_states: Whether those of the sequences are, [sequences, …].
        state_dtype: Not read: states are float32.

    Raises:
        ValueError: An invalid argument; the message names it.
    """
    if x.dim() != 4 or B.dim() != 4 or B.shape != C.shape:
        raise ValueError(
            f"x, B and C are {list(x.shape)}, {list(B.shape)} and {list(C.shape)}; they must be"
            " [batch, length, heads, dimension] and twice [batch, length, groups, states]")
    batch, length, heads, dimension = x.shape
    step = _step(dt.float(), dt_bias, dt_softplus)
    if tuple(dt_limit) != _UNLIMITED:
        step = step.clamp(*dt_limit)
    values = (x.float() * step[..., None]).to(x.dtype)
    ends, firsts, lasts = None, None, None
    states = None if initial_states is None else initial_states.transpose(2, 3)
    tensors = [C, B, values, step * A.float()]
    if seq_idx is not None or return_varlen_states:
        ends, firsts, lasts = _packed(seq_idx, cu_seqlens, batch, length)
        tensors = [each.flatten(0, 1)[None] for each in tensors]
        if states is not None:
            first = states.float()
            states = first.new_zeros((len(ends) - 1, *states.shape[1:])).index_copy(
                0, torch.tensor(firsts, device=x.device), first)
    queries, keys, values, decay = tensors
    out, last = linear_attention(
        queries.to(x.dtype), keys.to(x.dtype), values, decay, initial_state=states, scale=1.0,
        cumulative_lengths=None if ends is None else torch.tensor(
            ends, dtype=torch.int32, device=x.device))
    out = out.reshape(x.shape).float()
    if D is not None:
        out = out + x.float() * (D if D.dim() == 2 else D[:, None]).float()
    if z is not None:
        out = out * F.silu(z.float())
    results: List[Tensor] = [out.to(x.dtype)]
    last = last.transpose(2, 3)
    if return_final_states:
        results.append(last if lasts is None else last[lasts])
    if return_varlen_states:
        results.append(last)
    return results[0] if len(results) == 1 else tuple(results)


def _packed(
    seq_idx: Optional[Tensor], cu_seqlens: Optional[Tensor], batch: int, length: int
) -> Tuple[List[int], List[int], List[int]]:
    """Where sequences begin in all rows one behind the other; the first and last of each row."""
    starts = {row * length for row in range(batch)}
    if cu_seqlens is not None:
        if batch != 1:
            raise ValueError(f"cu_seqlens is given with a batch of {batch}; it must be 1")
        starts |= set(cu_seqlens.tolist()[:-1])
    elif seq_idx is None:
        raise ValueError("cu_seqlens is None with return_varlen_states; it must be given")
    if seq_idx is not None:
        if seq_idx.shape != (batch, length):
            raise ValueError(f"seq_idx is {list(seq_idx.shape)}; it must be {[batch, length]}")
        changes = (seq_idx[:, 1:] != seq_idx[:, :-1]).nonzero().tolist()
        starts |= {row * length + place + 1 for row, place in changes}
    ends = sorted(starts) + [batch * length]
    firsts = [ends.index(row * length) for row in range(batch)]
    lasts = [first - 1 for first in firsts[1:]] + [len(ends) - 2]
    return ends, firsts, lasts


def mamba_split_conv1d_scan_combined(
    zxbcdt: Tensor,
    conv1d_weight: Tensor,
    conv1d_bias: Optional[Tensor],
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    chunk_size: int,
    initial_states: Optional[Tensor] = None,
    seq_idx: Optional[Tensor] = None,
    dt_limit: Tuple[float, float] = _UNLIMITED,
    return_final_states: bool = False,
    activation: Optional[str] = "silu",
    rmsnorm_weight: Optional[Tensor] = None,
    rmsnorm_eps: float = 1e-6,
    outproj_weight: Optional[Tensor] = None,
    outproj_bias: Optional[Tensor] = None,
    headdim: Optional[int] = None,
    ngroups: int = 1,
    norm_before_gate: bool = True,
    state_dtype: Optional[torch.dtype] = None,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """Mamba-2's block from its input projection on: convolution, scan, gate, norm, projection.

    Args:
        zxbcdt: [batch, length, 2 · width + 2 · groups · states + heads], width = heads ·
            dimension; more columns are a gated feed-forward part before those.
        conv1d_weight: [width + 2 · groups · states, taps].
        conv1d_bias: [width + 2 · groups · states].
        dt_bias: [heads].
        A: [heads].
        D: [heads], then `headdim` is needed, or [heads, dimension].
        initial_states: [batch, heads, dimension, states].
        rmsnorm_weight: [width]: a norm over the columns of each group, times silu(z) before it or,
            with `norm_before_gate`, after it.
        outproj_weight: [outputs, width].
        outproj_bias: [outputs].

    The other arguments and the errors are those of `mamba_chunk_scan_combined`.
    """
    if D.dim() == 1 and headdim is None:
        raise ValueError("headdim is None with D of rank 1; it must be given")
    heads, dimension = (D.shape[0], headdim) if D.dim() == 1 else D.shape
    width = heads * dimension
    mixed = conv1d_weight.shape[0]
    further = zxbcdt.shape[-1] - width - mixed - heads
    if mixed < width or (mixed - width) % (2 * ngroups) or further < 0 or further % 2:
        raise ValueError(
            f"zxbcdt and conv1d_weight are {list(zxbcdt.shape)} and {list(conv1d_weight.shape)};"
            f" they must fit {heads} heads of {dimension} and {ngroups} groups")
    forward, z, xBC, dt = zxbcdt.split([further, width, mixed, heads], -1)
    xBC = causal_conv1d_fn(
        xBC.transpose(1, 2), conv1d_weight, conv1d_bias, seq_idx, activation=activation)
    x, B, C = xBC.transpose(1, 2).split([width, (mixed - width) // 2, (mixed - width) // 2], -1)
    z = z.unflatten(-1, (heads, dimension))
    results = mamba_chunk_scan_combined(
        x.unflatten(-1, (heads, dimension)), dt, A, B.unflatten(-1, (ngroups, -1)),
        C.unflatten(-1, (ngroups, -1)), chunk_size, D, z if rmsnorm_weight is None else None,
        dt_bias, initial_states, seq_idx, dt_softplus=True, dt_limit=dt_limit,
        return_final_states=return_final_states)
    out, last = results if return_final_states else (results, None)
    out = out.flatten(2)
    if rmsnorm_weight is not None:
        out = _gated_norm(
            out, z.flatten(2), rmsnorm_weight, rmsnorm_eps, ngroups, norm_before_gate)
    if further:
        gate, value = forward.chunk(2, -1)
        out = torch.cat([F.silu(gate) * value, out], -1)
    if outproj_weight is not None:
        out = F.linear(out.to(outproj_weight.dtype), outproj_weight, outproj_bias)
    return (out, last) if return_final_states else out


def _gated_norm(
    x: Tensor, z: Tensor, weight: Tensor, epsilon: float, groups: int, is_before_gate: bool
) -> Tensor:
    """The norm over each group's columns, and the gate, float32 inside."""
    out, gate = x.float(), F.silu(z.float())
    if not is_before_gate:
        out = out * gate
    parts = out.unflatten(-1, (groups, -1))
    out = (parts * torch.rsqrt(parts.square().mean(-1, keepdim=True) + epsilon)).flatten(-2)
    out = out * weight.float()
    return (out * gate if is_before_gate else out).to(x.dtype)


def _step(dt: Tensor, bias: Optional[Tensor], is_softplus: bool) -> Tensor:
    """Δ, float32."""
    if bias is not None:
        dt = dt + bias.float()
    return F.softplus(dt) if is_softplus else dt
