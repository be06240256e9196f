"""Behind `transformers`: an attention implementation, its masks, and the linear functions."""

from __future__ import annotations

from types import ModuleType

from ._patches import Patches
from ._transformers_attention import attend, attend_for_sdpa, make_mask
from ._transformers_linear import change_functions

NAME = "swift_attention"


def install(patches: Patches) -> None:
    """Registers the implementation `swift_attention`, and puts it behind `sdpa`, the default."""
    patches.when_imported(
        r"transformers\.masking_utils", lambda module: _change_masks(patches, module))
    patches.when_imported(
        r"transformers\.modeling_utils", lambda module: _change_attention(patches, module))
    patches.when_imported(
        r"transformers\.models\..*\.modeling_\w+", lambda module: change_functions(patches, module))


def _change_masks(patches: Patches, module: ModuleType) -> None:
    masks = module.AttentionMaskInterface._global_mapping
    patches.set_item(masks, NAME, make_mask(module))


def _change_attention(patches: Patches, module: ModuleType) -> None:
    functions = module.AttentionInterface._global_mapping
    sdpa = functions["sdpa"]
    patches.set_item(functions, NAME, attend(sdpa))
    patches.set_item(functions, "sdpa", attend_for_sdpa(sdpa))

    model = module.PreTrainedModel
    choose = model.get_correct_attn_implementation

    def get_correct_attn_implementation(self, requested_attention, *arguments, **options):
        chosen = choose(self, requested_attention, *arguments, **options)
        # Where nothing is asked for and sdpa cannot: sinks, for example.
        if requested_attention is None and chosen == "eager" and self._supports_attention_backend:
            return NAME
        return chosen

    patches.set_attribute(
        model, "get_correct_attn_implementation", get_correct_attn_implementation)
