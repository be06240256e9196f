"""MesaNet: values fitted to their keys by least squares, for each token."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .._operators.linear_attention import linear_attention, linear_attention_backward
from ._arguments import check_float32
from ._recurrence import in_one_dtype, unit_vectors, widened
from ._shapes import Shapes

_SHAPES = Shapes(
    "q, k, v [B, T, H, K]; g, beta [B, T, H]; lamb [H, K]; h_kk_init?, h_kv_init? [N, H, K, K]")
_STEP_SHAPES = Shapes(
    "q, k [B, H, K]; v [B, H, V]; g, beta [B, H]; lamb [H, K]; prev_h_kk [B, H, K, K];"
    " prev_h_kv [B, H, K, V]")
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
    attention, and so are those of the gradients: A must be symmetric, as sums of k kᵀ are. q, k, v
    [B, T, H, K]; g, a natural logarithm, at most 0, and beta [B, T, H]; lamb [H, K]; states
    [N, H, K, K]. Returns the output [B, T, H, K] and the final A and C, None unless
    `output_final_state`.
    """
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, q=q, k=k, v=v, g=g, beta=beta, lamb=lamb,
        h_kk_init=h_kk_init, h_kv_init=h_kv_init)
    check_float32(h_kk_init=h_kk_init, h_kv_init=h_kv_init)
    if use_qk_l2norm_in_kernel:
        q, k = unit_vectors(q), unit_vectors(k)
    return _mesa_net(
        q, k, v, g, beta, lamb, h_kk_init, h_kv_init, output_final_state, max_CG_iteration,
        cu_seqlens, begins_at_diagonal=False)


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
    """`chunk_mesa_net` of one token, whose solution starts at q / (diag A + λ).

    q, k [B, H, K]; v [B, H, V]; g, beta [B, H]; lamb [H, K]; states [B, H, K, K] and [B, H, K, V].
    Returns the output [B, H, V] and both states.
    """
    _STEP_SHAPES.check(
        q=q, k=k, v=v, g=g, lamb=lamb, beta=beta, prev_h_kk=prev_h_kk, prev_h_kv=prev_h_kv)
    output, keys, values = _mesa_net(
        *(x.unsqueeze(1) for x in (q, k, v, g, beta)), lamb, prev_h_kk, prev_h_kv, True,
        max_CG_iteration, None, begins_at_diagonal=True)
    return output.squeeze(1), keys, values


def _mesa_net(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    lamb: Tensor,
    keys: Tensor | None,
    values: Tensor | None,
    output_final_state: bool,
    iterations: int,
    cu_seqlens: Tensor | None,
    *,
    begins_at_diagonal: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    dtype = q.dtype
    q, k, v, beta, lamb = in_one_dtype(*(widened(x) for x in (q, k, v, beta, lamb)))
    written = k * beta.unsqueeze(-1)
    start = None
    if begins_at_diagonal:
        # Of one token after the state.
        diagonal = keys.diagonal(dim1=-2, dim2=-1).unsqueeze(1) * widened(g).exp().unsqueeze(-1)
        start = (q / (diagonal + written * k + lamb + _EPSILON)).detach()
    # Sᵀ x is linear attention of a state, and A x that of its transpose.
    turned = None if keys is None else keys.transpose(-1, -2)
    solved = _Solution.apply(q, k, written, g, lamb, turned, cu_seqlens, start, iterations)
    output, values = linear_attention(
        solved, written, v, g, initial_state=values, cumulative_lengths=cu_seqlens, scale=1)
    if not output_final_state:
        return output.to(dtype), None, None
    _, keys = linear_attention(
        q, written, k, g, initial_state=keys, cumulative_lengths=cu_seqlens, scale=1)
    return output.to(dtype), keys, values


class _System(NamedTuple):
    """A + diag(λ) of each token: A is the decayed sum of written kᵀ, starting from a state."""

    k: Tensor
    written: Tensor
    g: Tensor
    lamb: Tensor
    # The state before the first token, transposed.
    turned: Tensor | None
    ends: Tensor | None

    def product(self, x: Tensor) -> Tensor:
        """(A + diag(λ)) x for each token."""
        output, _ = linear_attention(
            x, self.k, self.written, self.g, initial_state=self.turned,
            cumulative_lengths=self.ends, scale=1, output_final_state=False)
        return output + self.lamb * x

    def transposed(self) -> _System:
        """Aᵀ + diag(λ)."""
        turned = None if self.turned is None else self.turned.transpose(-1, -2)
        return self._replace(k=self.written, written=self.k, turned=turned)


class _Solution(torch.autograd.Function):
    """x with (A + diag(λ)) x = q. With (A + diag(λ))ᵀ y = dx, dq is y, the rest −yᵀ dA x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q, k, written, g, lamb, turned, ends, start, iterations):
        system = _System(k, written, g, lamb, turned, ends)
        return _conjugate_gradients(q, system, start, iterations)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, *system, _, ctx.iterations = inputs
        ctx.save_for_backward(output, *system)

    @staticmethod
    def backward(ctx, gradient):
        solved, *tensors = ctx.saved_tensors
        system = _System(*tensors)
        k, written, g, _, turned, ends = system
        q_gradient = _conjugate_gradients(gradient, system.transposed(), None, ctx.iterations)
        needs = ("keys", "values", "decay") + (() if turned is None else ("initial_state",))
        k_gradient, written_gradient, g_gradient, *turned_gradient = linear_attention_backward(
            -q_gradient, None, solved, k, written, g, initial_state=turned,
            cumulative_lengths=ends, scale=1, needs=needs)
        lamb_gradient = -(q_gradient * solved).sum((0, 1))
        return (
            q_gradient, k_gradient, written_gradient, g_gradient, lamb_gradient,
            turned_gradient[0] if turned_gradient else None, None, None, None)


def _conjugate_gradients(
    right: Tensor, system: _System, start: Tensor | None, iterations: int
) -> Tensor:
    """The solution for a right-hand side, starting at `start`, None for 0."""
    if start is None:
        x, residual = torch.zeros_like(right), right
    else:
        x, residual = start.clone(), right - system.product(start)
    direction = residual
    norm = residual.square().sum(-1, keepdim=True)
    for _ in range(iterations):
        image = system.product(direction)
        step = norm / ((direction * image).sum(-1, keepdim=True) + _EPSILON)
        x = x + step * direction
        residual = residual - step * image
        following = residual.square().sum(-1, keepdim=True)
        direction = residual + following / (norm + _EPSILON) * direction
        norm = following
    return x
