"""Which kernel runs a call, and why not the others."""

from __future__ import annotations

from typing import Callable, List, Union

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ._operators import explainers
from .scaled_dot_product import scaled_dot_product_attention


def explain(call: Union[Callable, Tensor], *arguments: object, **options: object) -> str:
    """The verdict on a call, as text; this package's kernels compute nothing.

        explain(query, key, value, is_causal=True)
        explain(flash_cosine_sim_attention, q, k, v, causal=True)

    Args:
        call: A function of this package, or any function that calls them; or the query of
            `scaled_dot_product_attention`.
        arguments: The call's positional arguments.
        options: Its keyword arguments.
    """
    function: Callable = call
    if not callable(call):
        function, arguments = scaled_dot_product_attention, (call, *arguments)
    with _Explaining() as verdicts:
        function(*arguments, **options)
    if not verdicts.texts:
        raise ValueError(f"call is {function}; it must call an operator of swift_attention")
    return "\n".join(verdicts.texts)


class _Explaining(TorchDispatchMode):
    """Collects the verdicts on the package's operators instead of running them."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: List[str] = []

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        explainer = explainers.get(operator)
        if explainer is None:
            return operator(*arguments, **(options or {}))
        text, results = explainer(*arguments, **(options or {}))
        self.texts.append(text)
        return results
