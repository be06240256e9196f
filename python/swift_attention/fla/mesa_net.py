"""MesaNet: the values of the keys fitted to them by least squares, anew for each token."""

from __future__ import annotations

import torch
from torch import Tensor

from .._operators.linear_attention import linear_attention, linear_attention_backward
from ._arguments import check_packing, check_shape
from ._recurrence import lengths, on_host, unit_vectors, widened

# Keeps the quotients of the conjugate gradients finite.
_EPSILON = 1e-5


def chunk_mesa_net(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    lamb: Tensor,
    h_kk_init: Tensor | None = None,
    h_kv_init: Tensor | None = None,
    output_final_state: bool = False,
    max_CG_iteration: int = 30,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """A = e^g A + β k kᵀ, C = e^g C + β k vᵀ, o = Cᵀ (A + diag(λ))⁻¹ q.

    The systems are solved by `max_CG_iteration` steps of conjugate gradients, each a linear
    attention, and so are those of the gradients. q, k, v [B, T, H, K]; g, a natural logarithm, at
    most 0, and beta [B, T, H]; lamb [H, K]; states [N, H, K, K]. Returns the output [B, T, H, K]
    and the final A and C, None unless `output_final_state`.
    """
    cu_seqlens = on_host(cu_seqlens, cu_seqlens_cpu)
    check_packing(q, cu_seqlens, h_kk_init)
    check_packing(q, cu_seqlens, h_kv_init)
    check_shape("k", k, q.shape)
    check_shape("v", v, q.shape)
    check_shape("g", g, q.shape[:3])
    check_shape("beta", beta, q.shape[:3])
    check_shape("lamb", lamb, q.shape[2:])
    dtype = q.dtype
    if use_qk_l2norm_in_kernel:
        q, k = unit_vectors(q), unit_vectors(k)
    q, k, v, beta, lamb = (widened(x) for x in (q, k, v, beta, lamb))
    written = k * beta.unsqueeze(-1)
    ends = lengths(cu_seqlens)
    solved = _Solution.apply(q, k, written, g, lamb, h_kk_init, ends, max_CG_iteration)
    output, values = linear_attention(
        solved, written, v, g, initial_state=h_kv_init, cumulative_lengths=ends, scale=1)
    if not output_final_state:
        return output.to(dtype), None, None
    _, keys = linear_attention(
        q, written, k, g, initial_state=h_kk_init, cumulative_lengths=ends, scale=1)
    return output.to(dtype), keys, values


def mesa_net_decoding_one_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    lamb: Tensor,
    beta: Tensor,
    prev_h_kk: Tensor,
    prev_h_kv: Tensor,
    max_CG_iteration: int = 30,
) -> tuple[Tensor, Tensor, Tensor]:
    """`chunk_mesa_net` of one token: q, k, v [B, H, K]; g, beta [B, H]; states [B, H, K, K]."""
    output, keys, values = chunk_mesa_net(
        *(x.unsqueeze(1) for x in (q, k, v, g, beta)), lamb, prev_h_kk, prev_h_kv, True,
        max_CG_iteration)
    return output.squeeze(1), keys, values


def _product(
    x: Tensor, k: Tensor, written: Tensor, g: Tensor, lamb: Tensor, state: Tensor | None,
    ends: Tensor | None,
) -> Tensor:
    """(A + diag(λ)) x for each token."""
    output, _ = linear_attention(
        x, written, k, g, initial_state=state, cumulative_lengths=ends, scale=1,
        output_final_state=False)
    return output + lamb * x


class _Solution(torch.autograd.Function):
    """x with (A + diag(λ)) x = q. A is symmetric: y = A⁻¹ dx is dq, and of the rest −yᵀ dA x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q, k, written, g, lamb, state, ends, iterations):
        return _conjugate_gradients(q, (k, written, g, lamb, state, ends), iterations)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, *system, ctx.iterations = inputs
        ctx.save_for_backward(output, *system)

    @staticmethod
    def backward(ctx, gradient):
        solved, *system = ctx.saved_tensors
        k, written, g, _, state, ends = system
        q_gradient = _conjugate_gradients(gradient, system, ctx.iterations)
        needs = ("keys", "values", "decay") + (() if state is None else ("initial_state",))
        written_gradient, k_gradient, g_gradient, *state_gradient = linear_attention_backward(
            -q_gradient, None, solved, written, k, g, initial_state=state,
            cumulative_lengths=ends, scale=1, needs=needs)
        lamb_gradient = -(q_gradient * solved).sum((0, 1))
        return (
            q_gradient, k_gradient, written_gradient, g_gradient, lamb_gradient,
            state_gradient[0] if state_gradient else None, None, None)


def _conjugate_gradients(
    right: Tensor, system: tuple[Tensor | None, ...], iterations: int
) -> Tensor:
    x = torch.zeros_like(right)
    residual = direction = right
    norm = residual.square().sum(-1, keepdim=True)
    for _ in range(iterations):
        image = _product(direction, *system)
        step = norm / ((direction * image).sum(-1, keepdim=True) + _EPSILON)
        x = x + step * direction
        residual = residual - step * image
        following = residual.square().sum(-1, keepdim=True)
        direction = residual + following / (norm + _EPSILON) * direction
        norm = following
    return x
