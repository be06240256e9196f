"""What the operators with a state share: registration with PyTorch, forward, backward."""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from . import NAMESPACE, explainers, library
from .. import _library
from .._library import Layout, Operator, Template
from .eager import is_plain, is_plain_tensor, records_gradients

_TAGS = (torch.Tag.pt2_compliant_tag,)
_DISPATCH_KEYS = ("CPU", "CUDA")
_INCOMING = ("output_gradient", "final_state_gradient")
_AUTOCAST_KEYS = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}
# Beyond so many combinations of shapes, those packed first are packed again when they return.
_MAX_TEMPLATES = 4096

Option = Union[float, bool, str, None]


class Shapes(NamedTuple):
    """Of the output and the final state."""

    output: Tuple[int, ...]
    state: Tuple[int, ...]


class Recurrence:
    """An operator of tensors, some optional, with an output and a final state.

    Registers `swift_attention::<name>` and `swift_attention::<name>_backward`, both with what
    `torch.compile` needs, and autograd and autocast for the first.
    """

    def __init__(
        self,
        operator: Operator,
        tensors: Sequence[str],
        optional: Sequence[str],
        undifferentiable: Sequence[str],
        narrowed: Sequence[str],
        options: Mapping[str, str],
        shapes: Callable[[Mapping[str, Tensor]], Shapes],
        reads_output: bool,
    ) -> None:
        """`narrowed` are the tensors that autocast brings to its dtype; `options` have kinds of the
        schema language; `reads_output` says that the backward pass does."""
        self._operator = operator
        self._names = (*tensors, *optional)
        self._undifferentiable = undifferentiable
        self._narrowed = [name in narrowed for name in self._names]
        self._options = tuple(options)
        self._shapes = shapes
        # What the backward pass reads that is no input.
        self._read = ["output", *_INCOMING] if reads_output else list(_INCOMING)
        self._templates: Dict[tuple, Template] = {}

        inputs = ", ".join(
            [f"Tensor {name}" for name in tensors] + [f"Tensor? {name}" for name in optional]
        )
        read = ", ".join(f"Tensor? {name}" for name in self._read)
        given = "".join(f", {kind} {name}" for name, kind in options.items())
        name = operator.name
        library.define(
            f"{name}({inputs}{given}, bool output_final_state, str? kernel) -> (Tensor, Tensor)",
            tags=_TAGS,
        )
        library.define(
            f"{name}_backward({read}, {inputs}{given}, str? kernel, int needs) -> Tensor[]",
            tags=_TAGS,
        )
        for key in _DISPATCH_KEYS:
            library.impl(name, self._run_forward, key)
            library.impl(f"{name}_backward", self._run_backward, key)
        for device, key in _AUTOCAST_KEYS.items():
            library.impl(name, self._autocast(device, key), key)
        qualified = f"{NAMESPACE}::{name}"
        torch.library.register_fake(qualified, self._fake_forward, lib=library)
        torch.library.register_fake(f"{qualified}_backward", self._fake_backward, lib=library)
        torch.library.register_autograd(
            qualified, self._differentiate, setup_context=self._keep, lib=library
        )
        torch.library.register_autograd(
            f"{qualified}_backward", self._refuse_second_derivatives, lib=library
        )
        operators = getattr(torch.ops, NAMESPACE)
        self._forward = getattr(operators, name).default
        self._backward = getattr(operators, f"{name}_backward").default
        explainers[self._forward] = self._explain

    def forward(self, *arguments):
        """Output and final state of the operator's arguments."""
        tensors = arguments[:len(self._names)]
        if is_plain() and all(map(is_plain_tensor, tensors)) and not (
            records_gradients() and any(x is not None and x.requires_grad for x in tensors)
        ):
            return self._run_forward(*arguments)
        return self._forward(*arguments)

    def backward(
        self, read: Sequence[Optional[Tensor]], arguments: Sequence[object], names: Sequence[str]
    ) -> List[Tensor]:
        """The gradients of the tensors `names`, in the order of the operator's arguments.

        `read` are the output, where it is read, and the gradients of output and final state.
        """
        needs = sum(1 << self._names.index(name) for name in names)
        return self._backward(*read, *arguments, needs)

    def _explain(self, *arguments) -> Tuple[str, object]:
        """The verdict on a call, and results of its shapes."""
        count = len(self._names)
        *options, _, kernel = arguments[count:]
        present = self._present(arguments[:count])
        is_tracked = any(x.requires_grad for x in present.values())
        template = self._template(present, options, kernel, needs_gradient=int(is_tracked))
        return self._operator.explain(template), self._fake_forward(*arguments)

    # --- Calls

    def _run_forward(self, *arguments):
        count = len(self._names)
        tensors = arguments[:count]
        *options, needs_state, kernel = arguments[count:]
        present = self._present(tensors)
        first = tensors[0]
        shapes = self._shapes(present)
        results = {"output": first.new_empty(shapes.output)}
        if needs_state:
            results["final_state"] = first.new_empty(shapes.state, dtype=_state_dtype(first))
        self._call(self._operator.forward, {**present, **results}, options, kernel)
        return results["output"], results["final_state"] if needs_state else _no_state(first)

    def _run_backward(self, *arguments):
        read, count = len(self._read), len(self._read) + len(self._names)
        *options, kernel, needs = arguments[count:]
        present = self._present(arguments[read:count])
        inputs = dict(present)
        inputs.update((name, x) for name, x in zip(self._read, arguments) if x is not None)
        results = {
            f"{name}_gradient": torch.empty_like(
                present[name], memory_format=torch.contiguous_format)
            for name in self._needed(needs)
        }
        self._call(self._operator.backward, {**inputs, **results}, options, kernel)
        return list(results.values())

    def _call(
        self,
        function: Callable[[int], int],
        tensors: Mapping[str, Tensor],
        options: Sequence[Option],
        kernel: Optional[str],
    ) -> None:
        key = (
            *options, kernel,
            *[(name, x.shape, x.stride(), x.dtype, x.device) for name, x in tensors.items()],
        )
        template = self._templates.get(key)
        if template is None:
            template = self._template(tensors, options, kernel)
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            self._templates[key] = template
        device = template.device
        if device == _library.CPU:
            _library.follow_threads()
        pointers = [x.data_ptr() for x in tensors.values()]
        template.run(function, *pointers, _library.current_stream(device))

    def _template(
        self,
        tensors: Mapping[str, Tensor],
        options: Sequence[Option],
        kernel: Optional[str],
        **further: int,
    ) -> Template:
        device = tensors[self._names[0]].device
        layouts = {}
        for name, tensor in tensors.items():
            layout = Layout.of(tensor)
            if tensor.device != device:
                if name not in self._undifferentiable or tensor.device.type != "cpu":
                    raise ValueError(
                        f"{name}: was on {tensor.device}, must be on {device} as the others")
                layout = layout._replace(is_on_host=True)
            layouts[name] = layout
        return self._operator.template(
            _library.device_number(device), layouts, {**self._chosen(options, kernel), **further})

    def _chosen(self, options: Sequence[Option], kernel: Optional[str]) -> Dict[str, Option]:
        """Options as the struct has them."""
        chosen: Dict[str, Option] = {}
        for name, value in zip(self._options, options):
            if value is None:
                continue
            if f"has_{name}" in self._operator.offsets:
                chosen[f"has_{name}"] = 1
            chosen[name] = value
        if kernel is not None:
            chosen["kernel"] = kernel
        return chosen

    def _present(self, tensors: Sequence[Optional[Tensor]]) -> Dict[str, Tensor]:
        return {name: x for name, x in zip(self._names, tensors) if x is not None}

    def _needed(self, needs: int) -> List[str]:
        return [name for place, name in enumerate(self._names) if needs >> place & 1]

    # --- What PyTorch asks

    def _fake_forward(self, *arguments):
        count = len(self._names)
        first, needs_state = arguments[0], arguments[-2]
        shapes = self._shapes(self._present(arguments[:count]))
        state = first.new_empty(shapes.state, dtype=_state_dtype(first))
        return first.new_empty(shapes.output), state if needs_state else _no_state(first)

    def _fake_backward(self, *arguments):
        read = len(self._read)
        present = self._present(arguments[read:read + len(self._names)])
        return [
            torch.empty_like(present[name], memory_format=torch.contiguous_format)
            for name in self._needed(arguments[-1])
        ]

    def _keep(self, ctx, inputs, output):
        count = len(self._names)
        ctx.set_materialize_grads(False)
        kept = output[:1] if "output" in self._read else ()
        ctx.save_for_backward(*inputs[:count], *kept)
        *options, ctx.has_state, kernel = inputs[count:]
        ctx.options = (*options, kernel)

    def _differentiate(self, ctx, output_gradient, final_state_gradient):
        count = len(self._names)
        tensors, kept = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        names = [
            name for name, is_needed in zip(self._names, ctx.needs_input_grad)
            if is_needed and name not in self._undifferentiable
        ]
        if not ctx.has_state:
            final_state_gradient = None
        gradients: Dict[str, Optional[Tensor]] = dict.fromkeys(self._names)
        if names and not (output_gradient is None and final_state_gradient is None):
            results = self.backward(
                (*kept, output_gradient, final_state_gradient), (*tensors, *ctx.options), names)
            gradients.update(zip(names, results))
        return (*gradients.values(), *[None] * (len(ctx.options) + 1))

    def _refuse_second_derivatives(self, ctx, gradients):
        raise RuntimeError(f"{NAMESPACE}::{self._operator.name} has no second derivatives")

    def _autocast(self, device: str, key: str) -> Callable:
        """Brings float32 to the dtype that autocast has, as it does for matrix products."""
        keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

        def narrowed(*arguments):
            dtype = torch.get_autocast_dtype(device)
            cast = [
                x.to(dtype)
                if is_narrowed and x is not None and x.is_floating_point()
                and x.dtype != torch.float64
                else x
                for x, is_narrowed in zip(arguments, self._narrowed)
            ]
            with torch._C._ExcludeDispatchKeyGuard(keys):
                return self._forward(*cast, *arguments[len(cast):])

        return narrowed


def _state_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _no_state(tensor: Tensor) -> Tensor:
    return tensor.new_empty(0, dtype=_state_dtype(tensor))
