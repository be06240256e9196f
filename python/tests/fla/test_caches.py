"""Layers with caches: every sequence gets the result that it gets alone, without padding."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Type

import pytest
import torch
from references import models
from torch import Tensor, nn

from swift_attention.fla.layers import Cache, GatedLinearAttention, MultiScaleRetention

_WIDTH = 32


def _foreign() -> object:
    """The original's cache."""
    pytest.importorskip("transformers", reason="the original's cache is one of transformers")
    return models("cache_utils").Cache()


_CACHES: Dict[str, Callable[[], object]] = {"ours": Cache, "the original's": _foreign}
_LAYERS = [(MultiScaleRetention, {}), (MultiScaleRetention, {"use_short_conv": True}),
           (GatedLinearAttention, {}),
           (GatedLinearAttention, {"use_short_conv": True, "conv_bias": True, "conv_size": 3})]
_IDS = [f"{kind.__name__}{options or ''}" for kind, options in _LAYERS]


@pytest.fixture(params=_LAYERS, ids=_IDS)
def layer(request: pytest.FixtureRequest) -> nn.Module:
    kind, options = request.param
    return kind(hidden_size=_WIDTH, num_heads=4, layer_idx=1, **options).eval()


@pytest.fixture(params=_CACHES)
def cache(request: pytest.FixtureRequest) -> object:
    return _CACHES[request.param]()


class Feeding:
    """Calls of a layer, with each sequence's inputs and outputs."""

    def __init__(self, layer: nn.Module, cache: object, count: int) -> None:
        self.layer, self.cache = layer, cache
        self.inputs: List[List[Tensor]] = [[] for _ in range(count)]
        self.outputs: List[List[Tensor]] = [[] for _ in range(count)]
        self.mask = torch.zeros(count, 0)

    def _call(self, x: Tensor, **options: object) -> Tensor:
        output, _, cache = self.layer(x, past_key_values=self.cache, use_cache=True, **options)
        assert cache is self.cache
        return output

    def rows(self, rows: List[str], is_masked: bool = True) -> None:
        """Feeds a batch: "x" is a token, "." padding, which has no output and no effect."""
        mask = torch.tensor([[float(each == "x") for each in row] for row in rows])
        self.mask = torch.cat([self.mask, mask], 1)
        x = torch.randn(*mask.shape, _WIDTH)
        x[mask == 0] = torch.nan
        y = self._call(x, attention_mask=self.mask) if is_masked else self._call(x)
        for place, is_token in enumerate(mask.bool()):
            assert not y[place, ~is_token].any()
            self.inputs[place].append(x[place, is_token])
            self.outputs[place].append(y[place, is_token])

    def packed(self, lengths: List[int]) -> None:
        """Feeds packed sequences."""
        ends = torch.tensor([0, *lengths]).cumsum(0)
        x = torch.randn(1, sum(lengths), _WIDTH)
        y = self._call(x, cu_seqlens=ends)
        for place, (piece, output) in enumerate(zip(x[0].split(lengths), y[0].split(lengths))):
            self.inputs[place].append(piece)
            self.outputs[place].append(output)

    def check(self) -> None:
        """Compares with each sequence alone, in one call."""
        for place, (pieces, outputs) in enumerate(zip(self.inputs, self.outputs)):
            alone = self.layer(torch.cat(pieces).unsqueeze(0))[0][0]
            torch.testing.assert_close(
                torch.cat(outputs), alone, rtol=1e-4, atol=1e-5, msg=lambda text: f"{place}: {text}")


def test_padding_anywhere(layer: nn.Module, cache: object) -> None:
    feeding = Feeding(layer, cache, 3)
    feeding.rows(["...xxxxxxx", "xxxxxxxxxx", "xx..xx...x"])
    feeding.rows(["x", ".", "x"])
    feeding.rows(["x", "x", "."])
    feeding.rows([".", ".", "."])
    feeding.rows(["xx..", "....", ".x.x"])
    feeding.rows(["x", "x", "x"])
    feeding.check()


def test_padding_before_any_token(layer: nn.Module, cache: object) -> None:
    feeding = Feeding(layer, cache, 2)
    feeding.rows([".", "x"])
    feeding.rows(["x", "x"])
    feeding.rows(["x", "."])
    feeding.check()


def test_a_mask_of_the_call_alone_goes_on_from_padding(layer: nn.Module) -> None:
    """The mask of earlier tokens, which this package's cache keeps, need not be repeated."""
    feeding = Feeding(layer, Cache(), 2)
    feeding.rows(["..xxx", "xxxxx"])
    feeding.mask = torch.zeros(2, 0)
    feeding.rows(["x.x", ".xx"])
    feeding.rows(["x", "x"], is_masked=False)
    feeding.rows(["xxx", "xxx"], is_masked=False)
    feeding.check()


def test_packed_sequences_go_on(layer: nn.Module, cache: object) -> None:
    feeding = Feeding(layer, cache, 3)
    feeding.packed([6, 1, 13])
    feeding.rows(["x", "x", "x"], is_masked=False)
    feeding.packed([2, 0, 5])
    feeding.packed([1, 1, 1])
    feeding.rows(["xxxx"] * 3, is_masked=False)
    feeding.check()


def test_sequences_change_places(layer: nn.Module, cache: object) -> None:
    feeding = Feeding(layer, cache, 3)
    feeding.rows(["xxxxxxx", "..xxxxx", "...xxxx"])
    for order in ([2, 0, 0], [1, 1, 2]):
        feeding.cache.reorder_cache(torch.tensor(order))
        feeding.mask = feeding.mask[order]
        feeding.inputs = [list(feeding.inputs[place]) for place in order]
        feeding.outputs = [list(feeding.outputs[place]) for place in order]
        feeding.rows(["x", "x", "x"])
    feeding.check()


def test_sequences_become_several(layer: nn.Module) -> None:
    feeding = Feeding(layer, Cache(), 2)
    feeding.rows(["xxx", ".xx"])
    feeding.cache.batch_repeat_interleave(2)
    order = [0, 0, 1, 1]
    feeding.mask = feeding.mask[order]
    feeding.inputs = [list(feeding.inputs[place]) for place in order]
    feeding.outputs = [list(feeding.outputs[place]) for place in order]
    feeding.rows(["x", ".", "x", "x"])
    feeding.check()
    assert feeding.cache.get_seq_length(1) == 4
    feeding.cache.reset()
    assert len(feeding.cache) == 0 and feeding.cache.get_seq_length(1) == 0


def test_states_of_the_original_are_its_own(layer: nn.Module) -> None:
    """Slots, shapes and the order of the convolutions' inputs, so that its layers can continue."""
    cache, x = _foreign(), torch.randn(2, 5, _WIDTH)
    layer(x, past_key_values=cache, use_cache=True)
    assert cache.get_seq_length(1) == 5 and cache[0] is None
    state = cache[1]
    assert state["recurrent_state"].shape[:2] == (2, 4)
    if not layer.use_short_conv:
        assert state["conv_state"] is None
        return
    for name, inputs in zip("qkv", state["conv_state"]):
        width = getattr(layer, f"{name}_conv1d").kernel_size[0]
        rows = getattr(layer, f"{name}_proj")(x)[:, -width:]
        assert torch.equal(inputs, rows.transpose(1, 2))


@pytest.mark.parametrize("given", [None, Cache()])
@pytest.mark.parametrize("kind", [MultiScaleRetention, GatedLinearAttention])
def test_layers_without_a_number_have_no_slot(
    kind: Type[nn.Module], given: Optional[Cache]
) -> None:
    layer = kind(hidden_size=_WIDTH, num_heads=4)
    with pytest.raises(ValueError, match="layer_idx"):
        layer(torch.randn(1, 3, _WIDTH), past_key_values=given, use_cache=True)


def test_wrong_caches_and_masks(layer: nn.Module) -> None:
    x = torch.randn(2, 3, _WIDTH)
    with pytest.raises(TypeError, match="past_key_values was dict"):
        layer(x, past_key_values={}, use_cache=True)
    for shape in ((2, 2), (1, 3), (2, 3, 4)):
        with pytest.raises(ValueError, match="attention_mask"):
            layer(x, attention_mask=torch.ones(shape))
    with pytest.raises(NotImplementedError, match="earlier tokens"):
        Cache().crop(3)


def test_a_cache_keeps_no_long_tensor_alive(layer: nn.Module) -> None:
    cache = Cache()
    layer(torch.randn(1, 500, _WIDTH), past_key_values=cache, use_cache=True)
    for state in cache:
        for x in (state["recurrent_state"], *(state["conv_state"] or ())):
            assert x.untyped_storage().nbytes() == x.nbytes
