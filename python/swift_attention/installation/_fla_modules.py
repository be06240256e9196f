"""What layers of flash-linear-attention put around its operators, by PyTorch's operations.

On a CPU their Triton kernels do not run; arguments and results are the same. Sums and norms are in
float32. Names and arguments are those of the functions of `fla.modules`.
"""

from __future__ import annotations

from typing import Dict, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from ..causal_conv1d import causal_conv1d_fn
from ._report import Refusal


def _numbered(ends: Tensor) -> Tensor:
    """The number of the sequence of each token, [1, tokens]."""
    lengths = ends.diff()
    return torch.repeat_interleave(
        torch.arange(lengths.shape[0], device=ends.device), lengths)[None]


# --- Activations


def sigmoid(x: Tensor, output_contiguous: bool = False) -> Tensor:
    return torch.sigmoid(x.float()).to(x.dtype)


def logsigmoid(x: Tensor, temperature: float = 1.0) -> Tensor:
    return (F.logsigmoid(x.float()) / temperature).to(x.dtype)


def swish(x: Tensor, output_contiguous: bool = False) -> Tensor:
    return F.silu(x.float()).to(x.dtype)


def elu_p1(x: Tensor) -> Tensor:
    return (F.elu(x.float()) + 1).to(x.dtype)


def swiglu(x: Tensor, y: Tensor) -> Tensor:
    return (F.silu(x.float()) * y.float()).to(x.dtype)


def sigmoidglu(x: Tensor, y: Tensor) -> Tensor:
    return (torch.sigmoid(x.float()) * y.float()).to(x.dtype)


def swiglu_linear(x: Tensor, y: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    return F.linear(swiglu(x, y), weight, bias)


def sigmoidglu_linear(x: Tensor, y: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    return F.linear(sigmoidglu(x, y), weight, bias)


# --- Norms


def _summed(
    x: Tensor, residual: Optional[Tensor], in_float32: bool
) -> Tuple[Tensor, Tensor]:
    """x plus what passes the norm by, float32 and in the residual's type."""
    total = x.float() if residual is None else x.float() + residual.float()
    if residual is None and not in_float32:
        return total, x
    return total, total if in_float32 else total.to(residual.dtype)


def _normalized(
    total: Tensor, weight: Optional[Tensor], bias: Optional[Tensor], epsilon: float, is_rms: bool,
    groups: int = 1,
) -> Tensor:
    parts = total.unflatten(-1, (groups, -1))
    if not is_rms:
        parts = parts - parts.mean(-1, keepdim=True)
    parts = parts * torch.rsqrt(parts.square().mean(-1, keepdim=True) + epsilon)
    out = parts.flatten(-2)
    if weight is not None:
        out = out * weight.float()
    return out if bias is None else out + bias.float()


def group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, residual: Optional[Tensor] = None,
    eps: float = 1e-5, prenorm: bool = False, residual_in_fp32: bool = False,
    is_rms_norm: bool = False, num_groups: int = 1,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    total, passed = _summed(x, residual, residual_in_fp32)
    out = _normalized(total, weight, bias, eps, is_rms_norm, num_groups).to(x.dtype).contiguous()
    return (out, passed) if prenorm else out


def layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, residual: Optional[Tensor] = None,
    eps: float = 1e-5, prenorm: bool = False, residual_in_fp32: bool = False,
    is_rms_norm: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    return group_norm(x, weight, bias, residual, eps, prenorm, residual_in_fp32, is_rms_norm)


def rms_norm(
    x: Tensor, weight: Tensor, bias: Tensor, residual: Optional[Tensor] = None,
    eps: float = 1e-5, prenorm: bool = False, residual_in_fp32: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    return group_norm(x, weight, bias, residual, eps, prenorm, residual_in_fp32, True)


def layer_norm_linear(
    x: Tensor, norm_weight: Tensor, norm_bias: Tensor, linear_weight: Tensor,
    linear_bias: Tensor, residual: Optional[Tensor] = None, eps: float = 1e-5,
    prenorm: bool = False, residual_in_fp32: bool = False, is_rms_norm: bool = False,
    num_groups: int = 1,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    out, passed = group_norm(
        x, norm_weight, norm_bias, residual, eps, True, residual_in_fp32, is_rms_norm, num_groups)
    out = F.linear(out.to(linear_weight.dtype), linear_weight, linear_bias)
    return (out, passed) if prenorm else out


def rms_norm_linear(
    x: Tensor, norm_weight: Tensor, norm_bias: Tensor, linear_weight: Tensor,
    linear_bias: Tensor, residual: Optional[Tensor] = None, eps: float = 1e-5,
    prenorm: bool = False, residual_in_fp32: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    return layer_norm_linear(
        x, norm_weight, norm_bias, linear_weight, linear_bias, residual, eps, prenorm,
        residual_in_fp32, True)


def _gated(
    is_rms: bool, x: Tensor, g: Tensor, weight: Tensor, bias: Tensor, activation: str,
    residual: Optional[Tensor], prenorm: bool, residual_in_fp32: bool, eps: float,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    if activation not in ("swish", "silu", "sigmoid"):
        raise Refusal(f"activation is {activation!r}; it must be 'swish', 'silu' or 'sigmoid'")
    total, passed = _summed(x, residual, residual_in_fp32)
    gate = torch.sigmoid(g.float()) if activation == "sigmoid" else F.silu(g.float())
    out = (_normalized(total, weight, bias, eps, is_rms) * gate).to(x.dtype)
    return (out, passed) if prenorm else out


def layer_norm_gated(
    x: Tensor, g: Tensor, weight: Tensor, bias: Tensor, activation: str = "swish",
    residual: Optional[Tensor] = None, prenorm: bool = False, residual_in_fp32: bool = False,
    eps: float = 1e-6,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    return _gated(False, x, g, weight, bias, activation, residual, prenorm, residual_in_fp32, eps)


def rms_norm_gated(
    x: Tensor, g: Tensor, weight: Tensor, bias: Tensor, activation: str = "swish",
    residual: Optional[Tensor] = None, prenorm: bool = False, residual_in_fp32: bool = False,
    eps: float = 1e-6,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    return _gated(True, x, g, weight, bias, activation, residual, prenorm, residual_in_fp32, eps)


def rms_norm_swish_gate_linear(
    x: Tensor, g: Tensor, norm_weight: Tensor, norm_bias: Tensor, linear_weight: Tensor,
    linear_bias: Tensor, residual: Optional[Tensor] = None, prenorm: bool = False,
    residual_in_fp32: bool = False, eps: float = 1e-6,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    out, passed = _gated(
        True, x, g, norm_weight, norm_bias, "swish", residual, True, residual_in_fp32, eps)
    out = F.linear(out.to(linear_weight.dtype), linear_weight, linear_bias)
    return (out, passed) if prenorm else out


def layernorm_fn(
    x: Tensor, weight: Tensor, bias: Optional[Tensor], z: Optional[Tensor] = None,
    eps: float = 1e-6, group_size: Optional[int] = None, norm_before_gate: bool = True,
    is_rms_norm: bool = False,
) -> Tensor:
    wide, gate = x.float(), None if z is None else F.silu(z.float())
    if gate is not None and not norm_before_gate:
        wide = wide * gate
    groups = 1 if group_size is None else x.shape[-1] // group_size
    out = _normalized(wide, weight, bias, eps, is_rms_norm, groups)
    return (out * gate if gate is not None and norm_before_gate else out).to(x.dtype)


def rmsnorm_fn(
    x: Tensor, weight: Tensor, bias: Optional[Tensor], z: Optional[Tensor] = None,
    eps: float = 1e-6, group_size: Optional[int] = None, norm_before_gate: bool = True,
) -> Tensor:
    return layernorm_fn(x, weight, bias, z, eps, group_size, norm_before_gate, True)


def l2norm(x: Tensor, eps: float = 1e-6, output_dtype: Optional[torch.dtype] = None) -> Tensor:
    wide = x.float()
    out = wide * torch.rsqrt(wide.square().sum(-1, keepdim=True) + eps)
    return out.to(output_dtype or x.dtype)


# --- Along time


def rotary_embedding(
    x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False, inplace: bool = False,
    seqlen_offsets: Union[int, Tensor] = 0, cu_seqlens: Optional[Tensor] = None,
    chunk_indices: Optional[Tensor] = None,
) -> Tensor:
    """x [B, T, H, D] rotated at its positions."""
    batch, length = x.shape[:2]
    places = torch.arange(length, device=x.device)[None]
    offsets = seqlen_offsets
    if cu_seqlens is not None:
        numbers = _numbered(cu_seqlens)
        places = places - cu_seqlens[numbers]
        offsets = offsets[numbers] if isinstance(offsets, Tensor) else offsets
    elif isinstance(offsets, Tensor):
        offsets = offsets.reshape(-1, 1)
    places = (places + offsets).expand(batch, -1)
    cos, sin = (each[places][:, :, None].float() for each in (cos, sin))
    width = 2 * cos.shape[-1]
    part = x[..., :width].float()
    first, second = (part[..., ::2], part[..., 1::2]) if interleaved else part.chunk(2, -1)
    pairs = (first * cos - second * sin, first * sin + second * cos)
    part = torch.stack(pairs, -1).flatten(-2) if interleaved else torch.cat(pairs, -1)
    out = torch.cat([part.to(x.dtype), x[..., width:]], -1)
    return x.copy_(out) if inplace else out


def causal_conv1d(
    x: Tensor, weight: Optional[Tensor] = None, bias: Optional[Tensor] = None,
    residual: Optional[Tensor] = None, initial_state: Optional[Tensor] = None,
    output_final_state: Optional[bool] = False, activation: Optional[str] = None,
    backend: Optional[str] = "triton", cu_seqlens: Optional[Tensor] = None,
    cu_seqlens_cpu: Optional[Tensor] = None, chunk_indices: Optional[Tensor] = None,
    cp_context: object = None, **_options: object,
) -> Tuple[Tensor, Optional[Tensor]]:
    """x [B, T, D], weight [D, W]; states are the last W tokens of each sequence, [N, D, W]."""
    if cp_context is not None or weight is None:
        raise Refusal("cp_context is given or weight is not; the sequence must be on one device")
    shape = x.shape
    x = x.flatten(2)
    width = weight.shape[1]
    ends = [0, x.shape[1]] if cu_seqlens is None else cu_seqlens.tolist()
    outputs, states = [], []
    for index, (first, end) in enumerate(zip(ends, ends[1:])):
        rows = slice(None) if cu_seqlens is None else slice(index, index + 1)
        before = x.new_zeros((x.shape[0], x.shape[2], width))
        if initial_state is not None:
            before = initial_state[rows].to(x.dtype)
        tokens = x[:, first:end].transpose(1, 2)
        outputs.append(causal_conv1d_fn(
            tokens, weight.to(x.dtype), None if bias is None else bias.to(x.dtype),
            initial_states=before[..., 1:], activation=activation).transpose(1, 2))
        states.append(torch.cat([before, tokens], -1)[..., end - first:])
    out = torch.cat(outputs, 1)
    if residual is not None:
        out = out + residual.flatten(2)
    return out.view(shape), torch.cat(states) if output_final_state else None


def causal_conv1d_update(
    x: Tensor, cache: Tensor, residual: Optional[Tensor] = None, weight: Optional[Tensor] = None,
    bias: Optional[Tensor] = None, activation: Optional[str] = None,
) -> Tuple[Tensor, Tensor]:
    """One token of each sequence; `cache` [N, D, W] is updated in place."""
    shape = x.shape
    tokens = x.reshape(cache.shape[0], -1)
    kept = torch.cat([cache[..., 1:], tokens[..., None].to(cache.dtype)], -1)
    with torch.no_grad():
        cache.copy_(kept)
    out = (kept.float() * weight.float()).sum(-1)
    if bias is not None:
        out = out + bias.float()
    if activation is not None:
        out = F.silu(out)
    if residual is not None:
        out = out + residual.reshape(tokens.shape).float()
    return out.to(x.dtype).view(shape), cache


def token_shift(
    x: Tensor, cu_seqlens: Optional[Tensor] = None, cache: Optional[Tensor] = None,
    output_cache: bool = False, chunk_indices: Optional[Tensor] = None,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """The token before, zeros or the cache [N, D] for the first, minus the token."""
    before = F.pad(x, (0, 0, 1, 0))[:, :-1]
    firsts = (slice(None), 0) if cu_seqlens is None else (0, cu_seqlens[:-1].long())
    before = before.clone()
    before[firsts] = 0 if cache is None else cache.reshape(-1, x.shape[-1]).to(x.dtype)
    out = before - x
    if not output_cache:
        return out
    lasts = x[:, -1:] if cu_seqlens is None else x[0, cu_seqlens[1:].long() - 1][:, None]
    return out, lasts


# --- Losses


def cross_entropy_loss(
    logits: Tensor, target: Tensor, label_smoothing: float = 0.0, logit_scale: float = 1.0,
    lse_square_scale: float = 0.0, logit_softcapping: Optional[float] = None,
    ignore_index: int = -100, inplace_backward: bool = False, process_group: object = None,
) -> Tuple[Tensor, Tensor]:
    """The loss of each row and its share from the log-sum-exp's square, float32."""
    if process_group is not None:
        raise Refusal("process_group is given; the logits must be on one device")
    scores = logits.float() * logit_scale
    if logit_softcapping is not None:
        scores = logit_softcapping * torch.tanh(scores / logit_softcapping)
    loss = F.cross_entropy(
        scores, target, ignore_index=ignore_index, reduction="none",
        label_smoothing=label_smoothing)
    kept = target != ignore_index
    squares = torch.where(kept, lse_square_scale * scores.logsumexp(-1).square(), 0)
    return loss + squares, squares.detach()


def fused_linear_cross_entropy_loss(
    x: Tensor, target: Tensor, weight: Tensor, bias: Optional[Tensor] = None,
    ignore_index: int = -100, label_smoothing: float = 0.0, logit_scale: float = 1.0,
    logit_softcapping: Optional[float] = None, num_chunks: int = 8, reduction: str = "mean",
    use_l2warp: bool = False, l2_penalty_factor: float = 1e-4,
    accumulate_grad_in_fp32: bool = True, process_group: object = None,
) -> Tensor:
    """The cross entropy of x weightᵀ + bias."""
    if use_l2warp:
        raise Refusal("use_l2warp is True; it must be False")
    target = target.reshape(-1)
    losses, _ = cross_entropy_loss(
        F.linear(x.reshape(-1, x.shape[-1]), weight, bias), target, label_smoothing, logit_scale,
        0.0, logit_softcapping, ignore_index, process_group=process_group)
    total = losses.sum()
    return total / (target != ignore_index).sum() if reduction == "mean" else total


# --- RWKV-7


def fused_addcmul_rwkv7(
    hidden_states: Tensor, delta: Tensor, xr: Tensor, xw: Tensor, xk: Tensor, xv: Tensor,
    xa: Tensor, xg: Optional[Tensor] = None,
) -> Tuple[Optional[Tensor], ...]:
    """The tokens moved towards those before, each by its own weights."""
    return tuple(
        None if weight is None else torch.addcmul(hidden_states, delta, weight)
        for weight in (xr, xw, xk, xv, xa, xg))


def fused_k_rwkv7(
    k: Tensor, a: Tensor, ka: Tensor, cu_seqlens: Optional[Tensor] = None,
    cu_seqlens_cpu: Optional[Tensor] = None,
) -> Tensor:
    """k (1 + (a − 1) ka)"""
    wide = k.float()
    return torch.addcmul(wide, wide * (a.float() - 1), ka.float()).to(k.dtype)


def gate_output_correction(
    o: Tensor, r: Tensor, k: Tensor, r_k: Tensor, v: Tensor, g: Tensor
) -> Tensor:
    """(o + ⟨r, k r_k⟩ v) g, o and g [B, T, H·D], the others [B, T, H, D]."""
    strength = torch.einsum("bthd,bthd,hd->bth", r.float(), k.float(), r_k.float())
    return ((o.float() + (strength[..., None] * v.float()).flatten(-2)) * g.float()).to(o.dtype)


def loss_of_module(module: torch.nn.Module, input: Tensor, target: Tensor):
    """`FusedCrossEntropyLoss.forward`, which refuses tensors on a CPU."""
    loss, share = cross_entropy_loss(
        input, target, module.label_smoothing, module.logit_scale, module.lse_square_scale,
        module.logit_softcapping, module.ignore_index, process_group=module.process_group)
    if module.reduction != "none":
        loss, share = loss.sum(), share.sum()
    if module.reduction == "mean":
        count = (target != module.ignore_index).sum()
        loss, share = loss / count, share / count
    return (loss, share) if module.return_z_loss else loss


# The functions by the module that has the original.
MODULES: Dict[str, Tuple[object, ...]] = {
    "fla.modules.activations.ops": (
        sigmoid, logsigmoid, swish, elu_p1, swiglu, sigmoidglu, swiglu_linear,
        sigmoidglu_linear),
    "fla.modules.norm.layernorm": (
        layer_norm, group_norm, rms_norm, layer_norm_linear, rms_norm_linear),
    "fla.modules.norm.fused_norm_gate": (
        layer_norm_gated, rms_norm_gated, rms_norm_swish_gate_linear),
    "fla.modules.norm.l2norm": (l2norm,),
    "fla.modules.norm.layernorm_gated": (layernorm_fn, rmsnorm_fn),
    "fla.modules.rotary.ops": (rotary_embedding,),
    "fla.modules.causal_conv1d.ops": (causal_conv1d, causal_conv1d_update),
    "fla.modules.token_shift": (token_shift,),
    "fla.modules.fused_cross_entropy.ops": (cross_entropy_loss,),
    "fla.modules.fused_linear_cross_entropy.ops": (fused_linear_cross_entropy_loss,),
    "fla.ops.rwkv7.fused_addcmul": (fused_addcmul_rwkv7,),
    "fla.ops.rwkv7.fused_k_update": (fused_k_rwkv7,),
    "fla.ops.rwkv7.gate_output_correction": (gate_output_correction,),
}
