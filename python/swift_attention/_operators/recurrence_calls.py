"""Calls of the operators with a state on memory, without autograd or dispatcher."""

from __future__ import annotations

from typing import (
    Callable,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import torch
from torch import Tensor

from .._library import Layout, Operator, Template, device_number
from .calls import BACKWARD, FORWARD, Tensors, key_of, pointers_of, run


class Shapes(NamedTuple):
    """Of the output and the final state."""

    output: Tuple[int, ...]
    state: Tuple[int, ...]


class ForwardPlan(NamedTuple):
    """What is the same in every forward call of one combination of layouts and options."""

    template: Template
    output: Tuple[int, ...]
    # None where it is not asked for.
    state: Optional[Tuple[int, ...]]
    state_dtype: torch.dtype


class Calls:
    """The calls of one operator.

    `options` are fields of its struct; `shapes` are those of the results by the inputs.
    """

    def __init__(
        self,
        operator: Operator,
        options: Sequence[str],
        shapes: Callable[[Mapping[str, Tensor]], Shapes],
    ) -> None:
        self.operator = operator
        self.names = operator.inputs
        # A GPU's call reads these in the processor's memory too.
        self._hosted = frozenset(self.names) - frozenset(operator.differentiable)
        self._options = tuple(options)
        self._shapes = shapes

    def forward(
        self, tensors: Tensors, flags: tuple, needs_gradient: bool
    ) -> Tuple[Tensor, Tensor]:
        """Output and final state; `flags` are options, whether the state is asked for, kernel.

        `needs_gradient` says whether the backward pass will be asked for.
        """
        key = (self, flags, needs_gradient, *key_of(tensors))
        plan = FORWARD.get(key)
        if plan is None:
            plan = FORWARD.keep(key, self._forward_plan(tensors, flags, needs_gradient))
        first = tensors[0]
        output = torch.empty(plan.output, dtype=first.dtype, device=first.device)
        pointers = pointers_of(tensors)
        pointers.append(output.data_ptr())
        if plan.state is None:
            state = torch.empty(0, dtype=plan.state_dtype, device=first.device)
        else:
            state = torch.empty(plan.state, dtype=plan.state_dtype, device=first.device)
            pointers.append(state.data_ptr())
        run(plan.template, self.operator.forward, pointers)
        return output, state

    def backward(
        self,
        read: Mapping[str, Optional[Tensor]],
        tensors: Tensors,
        flags: tuple,
        needed: Sequence[str],
    ) -> List[Tensor]:
        """The gradients of the tensors `needed`; `read` are what is read beside the inputs."""
        inputs = dict(zip(self.names, tensors))
        gradients = [
            torch.empty_like(inputs[name], memory_format=torch.contiguous_format)
            for name in needed
        ]
        key = (self, flags, tuple(needed), *key_of(tensors), *key_of(read.values()))
        template = BACKWARD.get(key)
        if template is None:
            written = {f"{name}_gradient": x for name, x in zip(needed, gradients)}
            template = BACKWARD.keep(
                key, self._template({**inputs, **read, **written}, flags))
        run(template, self.operator.backward, pointers_of((*tensors, *read.values(), *gradients)))
        return gradients

    def results(self, tensors: Tensors, needs_state: bool) -> Tuple[Tensor, Tensor]:
        """Results of the right shapes that nothing is written to."""
        first, shapes = tensors[0], self._shapes_of(tensors)
        for name, tensor in zip(self.names, tensors):
            if tensor is not None:
                self._is_on_host(name, tensor, first.device)
        state = shapes.state if needs_state else (0,)
        return first.new_empty(shapes.output), first.new_empty(state, dtype=_state_dtype(first))

    def explain(self, tensors: Tensors, flags: tuple, needs_gradient: bool) -> str:
        """Which kernel runs a call with these arguments, and why not the others."""
        template = self._template(
            dict(zip(self.names, tensors)), flags, needs_gradient=needs_gradient)
        return self.operator.explain(template)

    def _forward_plan(self, tensors: Tensors, flags: tuple, needs_gradient: bool) -> ForwardPlan:
        needs_state = flags[-2]
        output, state = self.results(tensors, needs_state)
        named = {**dict(zip(self.names, tensors)), "output": output}
        if needs_state:
            named["final_state"] = state
        template = self._template(named, flags, needs_gradient=needs_gradient)
        return ForwardPlan(
            template, output.shape, state.shape if needs_state else None, state.dtype)

    def _shapes_of(self, tensors: Tensors) -> Shapes:
        return self._shapes({name: x for name, x in zip(self.names, tensors) if x is not None})

    def _template(
        self, tensors: Mapping[str, Optional[Tensor]], flags: tuple, **further: int
    ) -> Template:
        device = tensors[self.names[0]].device
        number = device_number(device)
        if number is None:
            raise ValueError(
                f"{self.names[0]}: was on {device}, must be on the processor or a GPU")
        layouts = {}
        for name, tensor in tensors.items():
            if tensor is None:
                continue
            layouts[name] = Layout.of(tensor)
            if self._is_on_host(name, tensor, device):
                layouts[name] = layouts[name]._replace(is_on_host=True)
        return self.operator.template(number, layouts, {**self._fields(flags), **further})

    def _is_on_host(self, name: str, tensor: Tensor, device: torch.device) -> bool:
        """Whether a tensor of a call is in the processor's memory, and the call elsewhere."""
        if tensor.device == device:
            return False
        if name not in self._hosted or tensor.device.type != "cpu":
            raise ValueError(f"{name}: was on {tensor.device}, must be on {device} as the others")
        return True

    def _fields(self, flags: tuple) -> Dict[str, Union[float, str]]:
        """Options as the struct has them."""
        fields: Dict[str, Union[float, str]] = {}
        for name, value in zip(self._options, flags):
            if value is None:
                continue
            if f"has_{name}" in self.operator.offsets:
                fields[f"has_{name}"] = 1
            fields[name] = value
        if flags[-1] is not None:
            fields["kernel"] = flags[-1]
        return fields


def _state_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
