"""The functions of flash-linear-attention 0.6.0, under their names and with their arguments.

    from swift_attention.fla import chunk_gla

Functions have the names, arguments, defaults, shapes and results of `fla.ops`, on CPUs and NVIDIA
GPUs, forward and backward. The kernels choose their chunks themselves, so all forms of a function
(`chunk_…`, `fused_chunk_…`, `fused_recurrent_…`, `parallel_…`) are the same computation, and
arguments that only tune flash-linear-attention's kernels (`chunk_size`, `checkpoint_level`,
`disable_recompute`, `safe_gate`, `use_graph`, `cu_seqlens_cpu`, `chunk_indices`) are validated but
have no effect. States and their gradients are float32. Invalid arguments raise ValueError or
TypeError.
"""

from __future__ import annotations

from .attn import attn_decoding_one_step, parallel_attn, parallel_forgetting_attn
from .based import fused_chunk_based, parallel_based, parallel_rebased
from .comba import chunk_comba, fused_recurrent_comba
from .delta_rule import (
    chunk_delta_rule,
    fused_chunk_delta_rule,
    fused_recurrent_delta_rule,
    parallel_delta_rule,
)
from .gated_delta_product import chunk_gated_delta_product
from .gated_delta_rule import (
    chunk_gated_delta_rule,
    chunk_gdn,
    fused_recurrent_gated_delta_rule,
    fused_recurrent_gdn,
)
from .gated_oja_rule import chunk_gated_oja_rule, fused_recurrent_gated_oja_rule
from .gates import fused_additive_gate, fused_gdn_gate, fused_kda_gate
from .gdn2 import chunk_gdn2, fused_recurrent_gdn2
from .generalized_delta_rule import (
    chunk_dplr_delta_rule,
    chunk_iplr_delta_rule,
    fused_recurrent_dplr_delta_rule,
    fused_recurrent_iplr_delta_rule,
)
from .gla import chunk_gla, fused_chunk_gla, fused_recurrent_gla
from .gsa import chunk_abc, chunk_gsa, fused_recurrent_gsa
from .hgrn import chunk_hgrn, fused_recurrent_hgrn
from .kda import chunk_kda, fused_recurrent_kda
from .lightnet import chunk_lightnet, fused_recurrent_lightnet
from .lightning_attn import chunk_lightning_attn, fused_recurrent_lightning_attn
from .linear_attn import chunk_linear_attn, fused_chunk_linear_attn, fused_recurrent_linear_attn
from .log_linear_attn import chunk_log_linear_attn
from .mesa_net import chunk_mesa_net, mesa_net_decoding_one_step
from .precond import (
    chunk_precond_gated_delta_rule,
    chunk_precond_kda,
    fused_recurrent_precond_gated_delta_rule,
    fused_recurrent_precond_kda,
)
from .retention import (
    chunk_retention,
    fused_chunk_retention,
    fused_recurrent_retention,
    parallel_retention,
)
from .rwkv6 import chunk_rwkv6, fused_recurrent_rwkv6
from .rwkv7 import chunk_rwkv7, fused_mul_recurrent_rwkv7, fused_recurrent_rwkv7
from .simple_gla import (
    chunk_simple_gla,
    fused_chunk_simple_gla,
    fused_recurrent_simple_gla,
    parallel_simple_gla,
)

__all__ = [
    "attn_decoding_one_step",
    "chunk_abc",
    "chunk_comba",
    "chunk_delta_rule",
    "chunk_dplr_delta_rule",
    "chunk_gated_delta_product",
    "chunk_gated_delta_rule",
    "chunk_gated_oja_rule",
    "chunk_gdn",
    "chunk_gdn2",
    "chunk_gla",
    "chunk_gsa",
    "chunk_hgrn",
    "chunk_iplr_delta_rule",
    "chunk_kda",
    "chunk_lightnet",
    "chunk_lightning_attn",
    "chunk_linear_attn",
    "chunk_log_linear_attn",
    "chunk_mesa_net",
    "chunk_precond_gated_delta_rule",
    "chunk_precond_kda",
    "chunk_retention",
    "chunk_rwkv6",
    "chunk_rwkv7",
    "chunk_simple_gla",
    "fused_additive_gate",
    "fused_chunk_based",
    "fused_chunk_delta_rule",
    "fused_chunk_gla",
    "fused_chunk_linear_attn",
    "fused_chunk_retention",
    "fused_chunk_simple_gla",
    "fused_gdn_gate",
    "fused_kda_gate",
    "fused_mul_recurrent_rwkv7",
    "fused_recurrent_comba",
    "fused_recurrent_delta_rule",
    "fused_recurrent_dplr_delta_rule",
    "fused_recurrent_gated_delta_rule",
    "fused_recurrent_gated_oja_rule",
    "fused_recurrent_gdn",
    "fused_recurrent_gdn2",
    "fused_recurrent_gla",
    "fused_recurrent_gsa",
    "fused_recurrent_hgrn",
    "fused_recurrent_iplr_delta_rule",
    "fused_recurrent_kda",
    "fused_recurrent_lightnet",
    "fused_recurrent_lightning_attn",
    "fused_recurrent_linear_attn",
    "fused_recurrent_precond_gated_delta_rule",
    "fused_recurrent_precond_kda",
    "fused_recurrent_retention",
    "fused_recurrent_rwkv6",
    "fused_recurrent_rwkv7",
    "fused_recurrent_simple_gla",
    "mesa_net_decoding_one_step",
    "parallel_attn",
    "parallel_based",
    "parallel_delta_rule",
    "parallel_forgetting_attn",
    "parallel_rebased",
    "parallel_retention",
    "parallel_simple_gla",
]
