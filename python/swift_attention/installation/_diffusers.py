"""Behind diffusers' attention dispatch: its backend `native`, the default."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Optional

from torch import Tensor

from ..scaled_dot_product import scaled_dot_product_attention
from ._patches import Patches
from ._report import Refusal, attempt


def install(patches: Patches) -> None:
    """Replaces the backend; the others are what somebody has chosen."""
    patches.when_imported(
        r"diffusers\.models\.attention_dispatch", lambda module: _change(patches, module))


def _change(patches: Patches, module: ModuleType) -> None:
    backends = module._AttentionBackendRegistry._backends
    name = module.AttentionBackendName.NATIVE
    original = backends[name]

    @functools.wraps(original)
    def native(*arguments, **options):
        return attempt(
            "diffusers", "attention", lambda: _attended(*arguments, **options),
            lambda: original(*arguments, **options), original.__name__)

    patches.set_item(backends, name, native)


def _attended(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Optional[Tensor] = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: Optional[float] = None,
    enable_gqa: bool = False, return_lse: bool = False, _parallel_config: object = None,
) -> Tensor:
    """[batch, length, heads, value dimension], of tensors in the same order."""
    if return_lse or _parallel_config is not None:
        raise Refusal("parts of the sequence are on other devices; all must be on one")
    if attn_mask is not None and attn_mask.shape == (query.shape[0], key.shape[1]):
        attn_mask = attn_mask[:, None, None]
    query, key, value = (each.transpose(1, 2) for each in (query, key, value))
    return scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa).transpose(1, 2)
