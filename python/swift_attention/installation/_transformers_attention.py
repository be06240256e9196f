"""Attention as `transformers` calls it: [batch, heads, length, dimension], any kind of mask."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Callable, Optional, Tuple

import torch
from torch import Tensor

from ..exact import attention
from ._report import Refusal, attempt

_FRAMEWORK = "transformers"


def make_mask(masking: ModuleType) -> Callable:
    """The mask function of the implementation, beside those of `transformers.masking_utils`."""
    plain, causal = masking.sdpa_mask, masking.causal_mask_function
    prepare, is_tracing = masking.prepare_padding_mask, masking.is_tracing

    def swift_attention_mask(
        *, batch_size, q_length, kv_length, q_offset=0, kv_offset=0, mask_function=causal,
        attention_mask=None, **options,
    ) -> Optional[Tensor]:
        """None, or bool [batch, 1 or heads, length, keys], or bool [batch, keys], causal too.

        The last is of padded batches: the kernels take both masks without their product.
        """
        if (
            mask_function is causal
            and attention_mask is not None
            and attention_mask.dim() == 2
            and isinstance(q_offset, int)
            and q_offset + q_length == kv_offset + kv_length
            and not is_tracing(attention_mask)
        ):
            keys = prepare(attention_mask, kv_length, kv_offset)
            keys = keys[:, kv_offset:kv_offset + kv_length].bool()
            if not keys.all():
                return keys
        return plain(
            batch_size=batch_size, q_length=q_length, kv_length=kv_length, q_offset=q_offset,
            kv_offset=kv_offset, mask_function=mask_function, attention_mask=attention_mask,
            **options)

    return swift_attention_mask


def attend(sdpa: Callable) -> Callable:
    """The implementation `swift_attention`; what it refuses runs `sdpa` or the model's own."""

    def swift_attention_forward(
        module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None,
        position_bias=None, **options,
    ) -> Tuple[Tensor, Optional[Tensor]]:
        eager = getattr(
            sys.modules.get(type(module).__module__), "eager_attention_forward", None)
        # What PyTorch's function cannot do, models do themselves.
        is_eager = eager is not None and any(
            options.get(name) is not None and options.get(name) is not False
            for name in ("softcap", "s_aux", "sinks", "output_attentions"))

        def original():
            causal = _is_causal(module, query, is_causal)
            mask = _whole_mask(attention_mask, query, key, causal)
            if not is_eager:
                return sdpa(
                    module, query, key, value, mask, dropout=dropout, scaling=scaling,
                    is_causal=is_causal, position_bias=position_bias, **options)
            terms = {} if position_bias is None else {"position_bias": position_bias}
            return eager(
                module, query, key, value, _added(mask, query, key, causal), dropout=dropout,
                scaling=query.shape[-1] ** -0.5 if scaling is None else scaling, **terms,
                **options)

        return attempt(
            _FRAMEWORK, f"attention of {type(module).__name__}",
            lambda: (_attended(
                module, query, key, value, attention_mask, dropout, scaling, is_causal,
                position_bias, **options), None),
            original, "eager_attention_forward" if is_eager else "sdpa_attention_forward")

    return swift_attention_forward


def attend_for_sdpa(sdpa: Callable) -> Callable:
    """The implementation `sdpa`; what the kernels refuse runs the original."""

    def sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None,
        position_bias=None, **options,
    ) -> Tuple[Tensor, None]:
        return attempt(
            _FRAMEWORK, f"attention of {type(module).__name__}",
            lambda: (_attended(
                module, query, key, value, attention_mask, dropout, scaling, is_causal,
                position_bias, **options), None),
            lambda: sdpa(
                module, query, key, value, attention_mask, dropout=dropout, scaling=scaling,
                is_causal=is_causal, position_bias=position_bias, **options),
            "sdpa_attention_forward")

    return sdpa_attention_forward


def _attended(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Optional[Tensor],
    dropout: float, scaling: Optional[float], is_causal: Optional[bool],
    position_bias: Optional[Tensor], softcap: Optional[float] = None,
    s_aux: Optional[Tensor] = None, sinks: Optional[Tensor] = None,
    output_attentions: Optional[bool] = False, **_options: object,
) -> Tensor:
    """[batch, length, heads, value dimension]

    Windows are in the mask, as they are for `sdpa`: further options say how masks were made.
    """
    if dropout:
        raise Refusal(f"dropout is {dropout}; it must be 0: the kernels have no dropout")
    if output_attentions:
        raise Refusal("output_attentions is True; it must be False: weights are never stored")
    if sinks is not None:
        raise Refusal("sinks is given; sinks must be s_aux, one per head")
    causal = _is_causal(module, query, is_causal)
    bias, key_mask, alignment = position_bias, None, "bottom-right"
    if mask is None:
        # An empty static cache has more keys than queries, all of them later.
        alignment = "top-left"
    elif mask.dim() == 2:
        key_mask = mask
    else:
        causal = False
        mask = mask[..., :key.shape[2]]
        if bias is None:
            bias = mask
        elif mask.dtype == torch.bool:
            bias = torch.where(mask, bias, torch.finfo(key.dtype).min)
        else:
            bias = bias + mask
    if isinstance(scaling, Tensor) and scaling.dim() == 0:
        scaling = scaling.item()
    return attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), scale=scaling,
        is_causal=causal, alignment=alignment, key_mask=key_mask, bias=bias, softcap=softcap,
        sinks=s_aux)


def _is_causal(module: torch.nn.Module, query: Tensor, is_causal: Optional[bool]) -> bool:
    """Whether the mask that is not there is causal: for one query it never is."""
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True)
    return bool(is_causal) and query.shape[2] > 1


def _whole_mask(
    mask: Optional[Tensor], query: Tensor, key: Tensor, is_causal: bool
) -> Optional[Tensor]:
    """A mask of keys as [batch, 1, length, keys], with the causal one."""
    if mask is None or mask.dim() != 2:
        return mask
    mask = mask[:, None, None, :].expand(-1, 1, query.shape[2], -1)
    return mask & _lower(query, key, key.shape[2] - query.shape[2]) if is_causal else mask


def _added(
    mask: Optional[Tensor], query: Tensor, key: Tensor, is_causal: bool
) -> Optional[Tensor]:
    """A mask as numbers that are added to scores."""
    if mask is None:
        if not is_causal:
            return None
        mask = _lower(query, key, 0)
    if mask.dtype != torch.bool:
        return mask
    zero = torch.zeros((), dtype=query.dtype, device=query.device)
    return torch.where(mask, zero, torch.finfo(query.dtype).min)


def _lower(query: Tensor, key: Tensor, offset: int) -> Tensor:
    """[1, 1, length, keys], true where query i sees key j: j ≤ i + offset."""
    rows = torch.arange(query.shape[2], device=query.device)[:, None] + offset
    return (torch.arange(key.shape[2], device=query.device) <= rows)[None, None]
