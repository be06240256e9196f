"""The tensors of every function, with the axes that flash-linear-attention documents."""

from __future__ import annotations

from typing import Callable, Dict, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from swift_attention import fla

# Adjacent axes differ in length, so that transposed tensors do not fit.
SIZES = {"B": 3, "N": 3, "T": 7, "H": 2, "G": 2, "HV": 4, "HQ": 4, "K": 5, "V": 6, "M": 9, "D": 10,
         "L": 5, "1": 1}
REMOVED = ("fused_chunk_gla", "fused_chunk_delta_rule")


class Arguments(NamedTuple):
    """A function's arguments: tensors with their axes, and other required ones."""

    axes: Dict[str, Tuple[str, ...]]
    options: Dict[str, object]
    # Pairs of states are given under these names.
    pair: Optional[Tuple[str, str]] = None

    def drawn(self, **sizes: int) -> Dict[str, Tensor]:
        """Tensors of the sizes: gates are negative, sums of k kᵀ are consistent, all are small."""
        sizes = {**SIZES, **sizes}
        shapes = {
            name: tuple(_length(axis, sizes) for axis in axes) for name, axes in self.axes.items()}
        tensors = {
            name: -torch.rand(shape) if name.startswith(("g", "w", "A_log")) else torch.rand(shape)
            for name, shape in shapes.items()
        }
        for name, x in tensors.items():
            if name.endswith("h_kk") or name.startswith("h_kk"):
                tensors[name] = x @ x.transpose(-1, -2)
        return tensors

    def call(
        self, function: Callable[..., object], tensors: Dict[str, object], **more: object
    ) -> object:
        """Calls the function with these tensors."""
        arguments = dict(tensors)
        if self.pair is not None:
            arguments["initial_state"] = tuple(arguments.pop(name) for name in self.pair)
        return function(**arguments, **self.options, **more)


def _length(axis: str, sizes: Dict[str, int]) -> int:
    length = 1
    for factor in axis.split("*"):
        length *= int(factor) if factor.isdigit() else sizes[factor]
    return length


def _of(text: str, pair: Optional[Tuple[str, str]] = None, **options: object) -> Arguments:
    axes = {}
    for rule in text.split("; "):
        names, shape = rule.split(": ")
        for name in names.split(" "):
            axes[name] = tuple(shape.split(" "))
    return Arguments(axes, options, pair)


_LINEAR = "q k: B T H K; v: B T H V"
_STATE = "initial_state: N H K V"
_PAIR = ("initial_state[0]", "initial_state[1]")
_SLOTS = "initial_state[0]: N H K M; initial_state[1]: N H M V"
_SUMS = "initial_state[0]: N H K V; initial_state[1]: N 1 H K"
_VALUE_HEADS = "q k: B T H K; v: B T HV V"
_VALUE_STATE = "initial_state: N HV K V"
_SIMPLE = f"{_LINEAR}; g: B T H; g_gamma: H; {_STATE}"
_ERASING = f"{_VALUE_HEADS}; g beta: B T HV; A_log dt_bias: HV; {_VALUE_STATE}"
_KDA = f"{_VALUE_HEADS}; g: B T HV K; beta: B T HV; A_log: HV; dt_bias: HV*K; {_VALUE_STATE}"
_GDN2 = f"q k g b: B T H K; v w: B T H V; A_log: H; dt_bias: H*K; {_STATE}"
_ATK = "g_atk beta_atk: B T H; log_atk_scale: H; initial_A_state: N H K"
_LOW_RANK = f"q k a b: B T H K; v: B T H V; {_STATE}"
_RWKV6 = f"r k w: B T H K; v: B T H V; u: H K; {_STATE}"
_COMBA = f"q k p: B T H K; v: B T HV V; g beta: B T HV; {_VALUE_STATE}"
_OJA = f"q k: B T H K; v gv: B T HV V; beta: B T HV; {_VALUE_STATE}"
_ATTENTION = "q: B T HQ K; k: B T H K; v: B T H V; g: B T HQ"

ARGUMENTS: Dict[str, Arguments] = {
    "attn_decoding_one_step": _of(
        "q: 1 N HQ K; k: 1 T H K; v: 1 T H V; g: 1 T HQ; sink_bias: HQ",
        cu_seqlens=torch.tensor([0, 2, 2, 7])),
    "chunk_abc": _of(f"{_LINEAR}; s: B T H M; {_SLOTS}", _PAIR),
    "chunk_comba": _of(_COMBA),
    "chunk_delta_rule": _of(f"{_LINEAR}; beta: B T H; {_STATE}"),
    "chunk_dplr_delta_rule": _of(f"{_LOW_RANK}; gk: B T H K"),
    "chunk_gated_delta_product": _of(
        f"q: B T H K; k: B T*2 H K; v: B T*2 H V; g: B T H; beta: B T*2 H; {_STATE}",
        num_householder=2),
    "chunk_gated_delta_rule": _of(_ERASING, use_gate_in_kernel=True),
    "chunk_gated_oja_rule": _of(_OJA),
    "chunk_gdn": _of(_ERASING, use_gate_in_kernel=True),
    "chunk_gdn2": _of(_GDN2, use_gate_in_kernel=True),
    "chunk_gla": _of(f"{_LINEAR}; g: B T H K; {_STATE}"),
    "chunk_gsa": _of(f"q: B T HQ K; k: B T H K; v: B T H V; s g: B T H M; {_SLOTS}", _PAIR),
    "chunk_hgrn": _of("x g: B T D; initial_state: N D"),
    "chunk_iplr_delta_rule": _of(_LOW_RANK),
    "chunk_kda": _of(_KDA, use_gate_in_kernel=True),
    "chunk_lightnet": _of(f"{_LINEAR}; {_SUMS}", _PAIR),
    "chunk_lightning_attn": _of(f"{_LINEAR}; {_STATE}", layer_idx=1, num_layers=3),
    "chunk_linear_attn": _of(f"{_LINEAR}; {_SUMS}", _PAIR),
    "chunk_log_linear_attn": _of(
        "q k: B T G K; v: B T HV V; g: B T HV; level_scales: B T HV L"),
    "chunk_mesa_net": _of(
        "q k v: B T H K; g beta: B T H; lamb: H K; h_kk_init h_kv_init: N H K K"),
    "chunk_precond_gated_delta_rule": _of(
        f"{_VALUE_HEADS}; g beta: B T HV; {_ATK}; {_VALUE_STATE}"),
    "chunk_precond_kda": _of(
        f"q k g: B T H K; v: B T H V; beta: B T H; A_log: H; dt_bias: H*K; {_ATK}; {_STATE}",
        use_gate_in_kernel=True),
    "chunk_retention": _of(f"{_LINEAR}; {_STATE}"),
    "chunk_rwkv6": _of(_RWKV6),
    "chunk_rwkv7": _of(f"r w k a b: B T H K; v: B T H V; {_STATE}"),
    "chunk_simple_gla": _of(_SIMPLE),
    "fused_additive_gate": _of("x: B T H K; initial_state: N 1 H K"),
    "fused_chunk_based": _of(_LINEAR),
    "fused_chunk_linear_attn": _of(f"{_LINEAR}; {_STATE}", normalize=False),
    "fused_chunk_retention": _of(f"{_LINEAR}; {_STATE}"),
    "fused_chunk_simple_gla": _of(_SIMPLE),
    "fused_gdn_gate": _of("g: B T HV; A_log dt_bias: HV"),
    "fused_kda_gate": _of("g: B T H K; A_log: H; dt_bias: H*K"),
    "fused_mul_recurrent_rwkv7": _of(f"r w k kk a: B T H K; v: B T H V; {_STATE}"),
    "fused_recurrent_comba": _of(_COMBA),
    "fused_recurrent_delta_rule": _of(f"{_LINEAR}; beta: B T H; {_STATE}"),
    "fused_recurrent_dplr_delta_rule": _of(f"{_LOW_RANK}; gk: B T H K"),
    "fused_recurrent_gated_delta_rule": _of(
        f"{_ERASING}; gk: B T HV K; gv: B T HV V", use_gate_in_kernel=True),
    "fused_recurrent_gated_oja_rule": _of(_OJA),
    "fused_recurrent_gdn": _of(
        f"{_VALUE_HEADS}; g: B T HV; A_log dt_bias: HV; gk: B T HV K; beta gv: B T HV V;"
        f" {_VALUE_STATE}", use_gate_in_kernel=True),
    "fused_recurrent_gdn2": _of(
        "q k: B T H K; v w: B T HV V; g b: B T HV K; A_log: HV; dt_bias: HV*K;"
        f" {_VALUE_STATE}", use_gate_in_kernel=True),
    "fused_recurrent_gla": _of(f"{_LINEAR}; gk: B T H K; gv: B T H V; {_STATE}"),
    "fused_recurrent_gsa": _of(
        f"q: B T HQ K; k: B T H K; v: B T H V; s g: B T H M; {_SLOTS}", _PAIR),
    "fused_recurrent_hgrn": _of("x g: B T D; initial_state: N D"),
    "fused_recurrent_iplr_delta_rule": _of(_LOW_RANK),
    "fused_recurrent_kda": _of(_KDA, use_gate_in_kernel=True),
    "fused_recurrent_lightnet": _of(f"{_LINEAR}; {_SUMS}", _PAIR),
    "fused_recurrent_lightning_attn": _of(f"{_LINEAR}; {_STATE}", layer_idx=1, num_layers=3),
    "fused_recurrent_linear_attn": _of(f"{_LINEAR}; {_STATE}"),
    "fused_recurrent_precond_gated_delta_rule": _of(
        f"{_VALUE_HEADS}; g beta: B T HV; gk: B T HV K; gv: B T HV V; {_ATK}; {_VALUE_STATE}"),
    "fused_recurrent_precond_kda": _of(
        f"{_VALUE_HEADS}; g: B T HV K; beta: B T HV; A_log: HV; dt_bias: HV*K; {_ATK};"
        f" {_VALUE_STATE}", use_gate_in_kernel=True),
    "fused_recurrent_retention": _of(f"{_LINEAR}; {_STATE}"),
    "fused_recurrent_rwkv6": _of(_RWKV6),
    "fused_recurrent_rwkv7": _of(f"r w k a b: B T H K; v: B T H V; {_STATE}"),
    "fused_recurrent_simple_gla": _of(_SIMPLE),
    "mesa_net_decoding_one_step": _of(
        "q k: B H K; v: B H V; g beta: B H; lamb: H K; prev_h_kk: B H K K; prev_h_kv: B H K V"),
    "parallel_attn": _of(f"{_ATTENTION}; sink_bias: HQ"),
    "parallel_based": _of(_LINEAR),
    "parallel_delta_rule": _of(f"{_LINEAR}; beta: B T H"),
    "parallel_forgetting_attn": _of(_ATTENTION),
    "parallel_rebased": _of(_LINEAR),
    "parallel_retention": _of(_LINEAR),
    "parallel_simple_gla": _of(f"{_LINEAR}; g: B T H"),
}


def function(name: str) -> Callable[..., object]:
    """The exported function."""
    return getattr(fla, name)
