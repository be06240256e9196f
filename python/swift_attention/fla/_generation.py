"""Generation by 🤗 Transformers with recurrent states instead of keys and values."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor
from transformers import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast

from .layers import Cache
from .layers._cache import keeps_states

# The names of the cache in versions of Transformers, as an argument and in a model's output.
CACHE_NAMES = ("past_key_values", "cache_params", "cache")
OUTPUT_CACHE = "cache" if "cache" in {
    field.name for field in dataclasses.fields(BaseModelOutputWithPast)} else "past_key_values"
# Arguments that generation passes on to a model unchanged.
_PASSED = ("use_cache", "logits_to_keep", "output_hidden_states")


def given_cache(**given: Any) -> Any:
    """The cache given under one of `CACHE_NAMES`, if any.

    None for an empty cache of Transformers' own, which cannot hold states.
    """
    named = {name: cache for name, cache in given.items() if cache is not None}
    if len(named) > 1:
        raise ValueError(
            f"{' and '.join(named)} were given, must be one: they are names of one argument")
    for name, cache in named.items():
        if keeps_states(cache):
            return cache
        if getattr(cache, "get_seq_length", lambda: 1)():
            raise TypeError(
                f"{name} was {type(cache).__name__}, must be a Cache of"
                " swift_attention.fla.layers or of flash-linear-attention")
    return None


class StateGenerationMixin(GenerationMixin):
    """Generates with a `Cache`, which the model makes on its first call."""

    # A state cannot be rolled back by a token.
    _is_stateful = True

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        cache: Cache | None = None,
        cache_params: Cache | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """With a cache, only the tokens that it has not seen.

        Versions of Transformers pass their number in different ways; earlier ones required asking
        the cache.
        """
        cache = given_cache(past_key_values=past_key_values, cache=cache, cache_params=cache_params)
        seen = 0 if cache is None else cache.get_seq_length()
        count, positions = input_ids.shape[1], kwargs.get("cache_position")
        if "next_sequence_length" in kwargs:
            count = kwargs["next_sequence_length"] or count
        elif positions is not None and positions.numel():
            count = positions.numel()
        else:
            length = count if attention_mask is None else attention_mask.shape[1]
            count = length - seen if length > seen else count
        passed = {name: kwargs[name] for name in _PASSED if name in kwargs}
        passed[OUTPUT_CACHE] = cache
        if inputs_embeds is not None and seen == 0:
            passed["inputs_embeds"] = inputs_embeds
        else:
            passed["input_ids"] = input_ids[:, max(0, input_ids.shape[1] - count):]
        return {"attention_mask": attention_mask, **passed}

    @staticmethod
    def _reorder_cache(cache: Cache, beam_idx: Tensor) -> Cache:
        cache.reorder_cache(beam_idx)
        return cache
