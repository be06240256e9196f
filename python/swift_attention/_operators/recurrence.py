"""What PyTorch's dispatcher and autograd are told of the operators with a state."""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor

from . import NAMESPACE, explainers, library
from .._library import Operator
from .batching import Batching, register_vmap
from .eager import is_plain, is_plain_tensor, records_gradients
from .recurrence_calls import Calls, Shapes
from .tape import (
    FirstDerivatives, Recorded, apply_in_kernel, below_autograd, is_differentiated)

_TAGS = (torch.Tag.pt2_compliant_tag,)
_INCOMING = ("output_gradient", "final_state_gradient")
_AUTOCAST_KEYS = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}


class Recurrence:
    """An operator of tensors, some optional, with an output and a final state.

    Registers `swift_attention::<name>` and `swift_attention::<name>_backward`, both with what
    `torch.compile` needs, and autograd and autocast for the first. After its tensors come its
    options, whether the final state is asked for, and the kernel; then, of the first, whether
    the backward pass will be asked for, by which the kernel of both is chosen.
    """

    def __init__(
        self,
        operator: Operator,
        required: int,
        narrowed: Sequence[str],
        options: Mapping[str, str],
        shapes: Callable[[Mapping[str, Tensor]], Shapes],
        reads_output: bool,
        shared: Mapping[str, int],
    ) -> None:
        """Its first `required` tensors are; `narrowed` are those that autocast brings to its dtype;
        `options` have kinds of the schema language; `reads_output` says that the backward pass does;
        `shared` are the tensors that rows of a batch share where they are of this rank."""
        names = operator.inputs
        self._calls = Calls(operator, tuple(options), shapes)
        self._names, self._count = names, len(names)
        self._is_differentiable = [name in operator.differentiable for name in names]
        self._is_narrowed = [name in narrowed for name in names]
        # What the backward pass reads that is no input.
        self._read = ("output", *_INCOMING) if reads_output else _INCOMING

        inputs = ", ".join(
            f"Tensor{'?' * (place >= required)} {name}" for place, name in enumerate(names))
        given = "".join(f", {kind} {name}" for name, kind in options.items())
        flags = f"{given}, bool output_final_state, str? kernel"
        read = ", ".join(f"Tensor? {name}" for name in self._read)
        name = operator.name
        library.define(
            f"{name}({inputs}{flags}, bool needs_gradient) -> (Tensor, Tensor)", tags=_TAGS)
        library.define(
            f"{name}_backward({read}, {inputs}{flags}, bool[] needed) -> Tensor[]", tags=_TAGS)
        operators = getattr(torch.ops, NAMESPACE)
        self._forward = getattr(operators, name).default
        self._backward = getattr(operators, f"{name}_backward").default

        for key in ("CPU", "CUDA"):
            library.impl(name, self._run_forward, key)
            library.impl(f"{name}_backward", self._run_backward, key)
        for device, key in _AUTOCAST_KEYS.items():
            library.impl(name, self._autocast(device, key), key)
        library.impl(name, self._autograd, "Autograd")
        library.impl(f"{name}_backward", self._autograd_of_backward, "Autograd")
        qualified = f"{NAMESPACE}::{name}"
        torch.library.register_fake(qualified, self._fake_forward, lib=library)
        torch.library.register_fake(f"{qualified}_backward", self._fake_backward, lib=library)
        explainers[self._forward] = self._explain
        batching = Batching(
            names[0], lambda tensor, shape, batch: shared.get(tensor) != len(shape))
        register_vmap(name, self._forward, batching, names)
        register_vmap(
            f"{name}_backward", self._backward, batching, (*self._read, *names),
            lambda arguments: self._names_of(arguments[-1]))

    def forward(self, *arguments: object) -> Tuple[Tensor, Tensor]:
        """Output and final state of the operator's arguments."""
        if torch.compiler.is_compiling():
            return self._forward(*arguments, False)
        tensors = arguments[:self._count]
        if not (is_plain() and all(map(is_plain_tensor, tensors))):
            return self._forward(*arguments, False)
        if records_gradients() and any(x is not None and x.requires_grad for x in tensors):
            return _Recorded.apply(self, False, arguments[self._count:], *tensors)
        return self._calls.forward(tensors, arguments[self._count:], needs_gradient=False)

    def backward(
        self, read: Sequence[Optional[Tensor]], arguments: Sequence[object], needed: Sequence[bool]
    ) -> List[Tensor]:
        """The gradients of the tensors that are `needed`, in the order of the operator's arguments.

        `read` are the output, where it is read, and the gradients of output and final state.
        """
        tensors = arguments[:self._count]
        if torch.compiler.is_compiling() or torch.is_grad_enabled() or not (
            is_plain() and all(map(is_plain_tensor, (*read, *tensors)))
        ):
            return self._backward(*read, *arguments, needed)
        return self._run_backward(*read, *arguments, needed)

    def needed(self, names: Sequence[str]) -> List[bool]:
        """Which of the operator's tensors have these names."""
        return [name in names for name in self._names]

    # --- What the dispatcher is told

    def _run_forward(self, *arguments):
        return self._calls.forward(
            arguments[:self._count], arguments[self._count:-1], needs_gradient=arguments[-1])

    def _run_backward(self, *arguments):
        places = len(self._read), len(self._read) + self._count
        *flags, needed = arguments[places[1]:]
        return self._calls.backward(
            dict(zip(self._read, arguments)), arguments[places[0]:places[1]], tuple(flags),
            self._names_of(needed))

    def _names_of(self, needed: Sequence[bool]) -> List[str]:
        return [name for name, is_needed in zip(self._names, needed) if is_needed]

    def _fake_forward(self, *arguments):
        return self._calls.results(arguments[:self._count], needs_state=arguments[-3])

    def _fake_backward(self, *arguments):
        tensors = arguments[len(self._read):len(self._read) + self._count]
        return [
            torch.empty_like(x, memory_format=torch.contiguous_format)
            for x, is_needed in zip(tensors, arguments[-1]) if is_needed
        ]

    def _autograd(self, *arguments):
        tensors = arguments[:self._count]
        if is_differentiated(tensors):
            return apply_in_kernel(_Recorded, self, True, arguments[self._count:-1], *tensors)
        with torch._C._AutoDispatchBelowAutograd():
            return self._forward(*arguments)

    def _autograd_of_backward(self, *arguments):
        if is_differentiated(arguments):
            return list(apply_in_kernel(FirstDerivatives, self._backward, *arguments))
        with torch._C._AutoDispatchBelowAutograd():
            return self._backward(*arguments)

    def _autocast(self, device: str, key: str) -> Callable:
        """Brings float32 to the dtype that autocast has, as it does for matrix products."""
        keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

        def cast(x: Optional[Tensor], is_narrowed: bool, dtype: torch.dtype) -> Optional[Tensor]:
            if not is_narrowed or not x.is_floating_point() or x.dtype == torch.float64:
                return x
            return x.to(dtype) if x.device.type == device else x

        def run(*arguments):
            dtype = torch.get_autocast_dtype(device)
            tensors = [
                cast(x, is_narrowed, dtype) for x, is_narrowed in zip(arguments, self._is_narrowed)]
            with torch._C._ExcludeDispatchKeyGuard(keys):
                return self._forward(*tensors, *arguments[self._count:])

        return run

    def _explain(self, *arguments) -> Tuple[str, object]:
        verdict = self._calls.explain(
            arguments[:self._count], arguments[self._count:-1], needs_gradient=arguments[-1])
        return verdict, self._fake_forward(*arguments)


class _Recorded(Recorded):
    """A call that autograd keeps: whose, whether the dispatcher is to see it, flags, tensors."""

    @staticmethod
    def forward(ctx, owner: Recurrence, is_dispatched: bool, flags: tuple, *tensors):
        if is_dispatched:
            with below_autograd():
                results = owner._forward(*tensors, *flags, True)
        else:
            results = owner._calls.forward(tensors, flags, needs_gradient=True)
        ctx.owner, ctx.flags = owner, flags
        ctx.set_materialize_grads(False)
        kept = results[:1] if owner._read[0] == "output" else ()
        ctx.save_for_backward(*tensors, *kept)
        return results

    @staticmethod
    def backward(ctx, output_gradient, state_gradient):
        owner = ctx.owner
        count = owner._count
        # Activation checkpointing lets them be read once.
        saved = ctx.saved_tensors
        tensors, kept = saved[:count], saved[count:]
        if not ctx.flags[-2]:
            state_gradient = None
        needed = [
            is_needed and is_differentiable
            for is_needed, is_differentiable in zip(
                ctx.needs_input_grad[3:], owner._is_differentiable)
        ]
        gradients: Dict[int, Tensor] = {}
        if not (output_gradient is None and state_gradient is None):
            found = owner.backward(
                (*kept, output_gradient, state_gradient), (*tensors, *ctx.flags), needed)
            places = (place for place, is_needed in enumerate(needed) if is_needed)
            gradients = dict(zip(places, found))
        return (None, None, None, *[gradients.get(place) for place in range(count)])
