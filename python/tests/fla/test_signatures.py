"""Names, order and defaults of arguments are flash-linear-attention's."""

from __future__ import annotations

import ast
import inspect
from typing import Any, List, Tuple

import pytest
from references import definitions, exported

from swift_attention import fla

# Two names of one function.
_ALIASES = {"chunk_gdn": "chunk_gated_delta_rule",
            "fused_recurrent_gdn": "fused_recurrent_gated_delta_rule"}
# Not supported: other similarities than the two, sparse selection of keys, states
# that rotate, momentum, and gates inside of the score.
_MISSING = {
    "chunk_cyfa", "chunk_momentum_delta_rule", "fused_attnres", "fused_recurrent_cyfa",
    "fused_recurrent_momentum_delta_rule", "parallel_nsa", "parallel_parallax",
    "parallel_path_attn", "parallel_stickbreaking_attn", "parallel_wall_attn",
    "parallel_wall_attn_decode",
}
_ABSENT = object()


def _theirs(name: str) -> List[Tuple[str, Any]]:
    arguments = definitions()[name].args
    places = [*arguments.posonlyargs, *arguments.args]
    defaults = [_ABSENT] * (len(places) - len(arguments.defaults))
    defaults += [_value(default) for default in arguments.defaults]
    named = [
        (place.arg, _ABSENT if default is None else _value(default))
        for place, default in zip(arguments.kwonlyargs, arguments.kw_defaults)
    ]
    return [(place.arg, default) for place, default in zip(places, defaults)] + named


def _value(default: ast.expr) -> Any:
    text = ast.unparse(default)
    return text if text.startswith("torch.") else ast.literal_eval(default)


def _ours(name: str) -> List[Tuple[str, Any]]:
    return [
        (each.name, _ABSENT if each.default is inspect.Parameter.empty else each.default)
        for each in inspect.signature(getattr(fla, name)).parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def _dtypes_by_name(pairs: List[Tuple[str, Any]]) -> List[Tuple[str, Any]]:
    return [
        (name, str(default) if "torch." in str(default) else default) for name, default in pairs
    ]


@pytest.mark.parametrize("name", fla.__all__)
def test_arguments(name: str) -> None:
    assert _dtypes_by_name(_ours(name)) == _theirs(_ALIASES.get(name, name))


def test_nothing_else_is_missing() -> None:
    assert set(exported()) - set(fla.__all__) == _MISSING


@pytest.mark.parametrize("name", fla.__all__)
def test_is_documented(name: str) -> None:
    assert getattr(fla, name).__doc__
