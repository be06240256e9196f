"""The operator behaves like PyTorch's own: dispatcher, autograd, compiler, autocast, transforms."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.library import opcheck
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from support import error, threads
from swift_attention import attention, flash_cosine_sim_attention, scaled_dot_product_attention
from swift_attention._operators.attention_calls import OptionValues
from swift_attention._operators.calls import Plans
from swift_attention._operators.gated_scan import gated_scan
from swift_attention._operators.linear_attention import linear_attention

OPERATOR = torch.ops.swift_attention.attention.default


def tokens(device: torch.device, dtype: torch.dtype = torch.float32, length: int = 6) -> list:
    """Queries, keys and values [2, 3, length, 8] that require gradients."""
    return [
        torch.randn(2, 3, length, 8, device=device).to(dtype).requires_grad_() for _ in range(3)]


def terms(device: torch.device, dtype: torch.dtype) -> dict:
    """Every tensor of the operator, for tokens of [2, 5, 4, 8]."""
    def new(*shape: int) -> Tensor:
        return torch.randn(shape, device=device).to(dtype).requires_grad_()

    return dict(
        queries=new(2, 5, 4, 8), keys=new(2, 5, 2, 8), values=new(2, 5, 2, 6),
        bias=new(1, 4, 5, 5), head_scales=new(4), logit_decay=new(2, 5, 4), sinks=new(4),
        key_mask=torch.rand(2, 5, device=device) > 0.2, cumulative_lengths=None)


@pytest.mark.parametrize("needs_gradient", [True, False])
@pytest.mark.parametrize("values", [
    OptionValues(), OptionValues(is_causal=True, window_left=2, is_top_left=True),
    OptionValues(is_cosine=True, groups=2, has_alibi=True, softcap=4.0)])
def test_opcheck(values: OptionValues, needs_gradient: bool, device: torch.device) -> None:
    tensors = terms(device, torch.float32)
    for tensor in tensors.values():
        if tensor is not None and not needs_gradient:
            tensor.requires_grad_(False)
    opcheck(OPERATOR, (*tensors.values(), *values))


def test_opcheck_of_heads_first(device: torch.device) -> None:
    opcheck(OPERATOR, (*tokens(device), *[None] * 6, *OptionValues(heads_first=True)))


def test_opcheck_of_packed_sequences(device: torch.device) -> None:
    q, k, v = (torch.randn(1, 9, 2, 8, device=device, requires_grad=True) for _ in range(3))
    lengths = torch.tensor([0, 4, 4, 9], dtype=torch.int32, device=device)
    opcheck(OPERATOR, (q, k, v, *[None] * 5, lengths, *OptionValues(is_causal=True)))


def test_gradcheck(device: torch.device) -> None:
    if device.type != "cpu":
        pytest.skip("GPUs have no float64 attention, and float32 is too coarse for differences")
    tensors = tokens(device, torch.float64, length=4)
    assert gradcheck(scaled_dot_product_attention, tensors)
    assert gradcheck(
        lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.7), tensors)
    assert gradcheck(
        lambda q, k, v: flash_cosine_sim_attention(q, k, v, causal=True, groups=2), tensors)


def test_gradcheck_of_log_sum_exp(device: torch.device) -> None:
    """In float32, by finite differences of a size that float32 resolves."""
    q, k, v = (torch.randn(1, 4, 2, 4, device=device, requires_grad=True) for _ in range(3))
    assert gradcheck(
        lambda *t: attention(*t, is_causal=True, returns_log_sum_exp=True)[1], (q, k, v),
        eps=1e-2, atol=2e-2, rtol=2e-2)


def test_no_second_derivative(device: torch.device) -> None:
    q, k, v = tokens(device)
    output = scaled_dot_product_attention(q, k, v)
    gradient, = torch.autograd.grad(output.sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        (gradient.sum() + q.sum()).backward()


def test_forward_mode_is_refused(device: torch.device) -> None:
    q, k, v = (t.detach() for t in tokens(device))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(q, torch.ones_like(q))
        with pytest.raises(RuntimeError, match="[Ff]orward"):
            scaled_dot_product_attention(dual, k, v)


def test_compile(device: torch.device) -> None:
    def function(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        a = scaled_dot_product_attention(q * 2, k, v, is_causal=True)
        b = flash_cosine_sim_attention(a, k, v, causal=True, mask=mask)
        return scaled_dot_product_attention(b, k, v, mask[:, None, None]).sin()

    torch._dynamo.reset()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True, dynamic=True)
    for length in (6, 9, 1):
        tensors = tokens(device, length=length)
        mask = torch.rand(2, length, device=device) > 0.2
        expected = function(*tensors, mask)
        result = compiled(*tensors, mask)
        assert result.stride() == expected.stride() and error(result, expected) < 1e-6
        own = torch.autograd.grad(result.sum(), tensors)
        reference = torch.autograd.grad(expected.sum(), tensors)
        for one, other in zip(own, reference):
            assert error(one, other) < 1e-5, length


def test_export(device: torch.device) -> None:
    class Model(torch.nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return scaled_dot_product_attention(q, k, v, is_causal=True)

    tensors = [t.detach() for t in tokens(device)]
    program = torch.export.export(Model(), tuple(tensors))
    targets = [node.target for node in program.graph.nodes]
    assert OPERATOR in targets
    assert error(program.module()(*tensors), Model()(*tensors)) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype, device: torch.device) -> None:
    q, k, v = tokens(device)
    native = torch.nn.functional.scaled_dot_product_attention
    with torch.autocast(device.type, dtype=dtype):
        output = scaled_dot_product_attention(q, k, v)
        assert output.dtype == native(q, k, v).dtype == dtype
        # Tensors in the other half precision are converted too; float64 never is.
        others = [t.detach().to(torch.bfloat16) for t in (q, k, v)]
        assert scaled_dot_product_attention(*others).dtype == native(*others).dtype
    bound = 2e-2
    assert error(output, native(q, k, v)) < bound
    gradient, = torch.autograd.grad(output.float().square().sum(), q)
    assert gradient.dtype == torch.float32
    if device.type == "cpu":
        with torch.autocast("cpu", dtype=dtype):
            doubles = [t.detach().double() for t in (q, k, v)]
            assert scaled_dot_product_attention(*doubles).dtype == torch.float64


def test_transforms(device: torch.device) -> None:
    q, k, v = (t.detach() for t in tokens(device))

    def loss(attend, q: Tensor) -> Tensor:
        return attend(q, k, v).square().sum()

    native = torch.nn.functional.scaled_dot_product_attention
    own = torch.func.grad(lambda q: loss(scaled_dot_product_attention, q))(q)
    assert error(own, torch.func.grad(lambda q: loss(native, q))(q)) < 1e-4
    many = torch.stack([q, q + 1])
    own = torch.func.vmap(lambda q: scaled_dot_product_attention(q, k, v))(many)
    assert error(own, torch.func.vmap(lambda q: native(q, k, v))(many)) < 1e-5


def test_modes_see_the_operator(device: torch.device) -> None:
    seen = []

    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, arguments=(), options=None):
            seen.append(operator)
            return operator(*arguments, **(options or {}))

    class Functions(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), options=None):
            seen.append(function)
            return function(*arguments, **(options or {}))

    q, k, v = tokens(device)
    for _ in range(2):
        scaled_dot_product_attention(q, k, v)
    with Calls():
        scaled_dot_product_attention(q, k, v)
    assert OPERATOR in seen
    seen.clear()
    with Functions():
        scaled_dot_product_attention(q, k, v)
    assert OPERATOR in seen


def test_profiler_sees_the_operator(device: torch.device) -> None:
    q, k, v = tokens(device)
    scaled_dot_product_attention(q, k, v)
    with torch.autograd.profiler.profile() as profile:
        scaled_dot_product_attention(q, k, v)
    assert "swift_attention::attention" in {event.name for event in profile.function_events}


def test_fake_tensors(device: torch.device) -> None:
    with torch._subclasses.FakeTensorMode():
        q = torch.randn(2, 3, 4, 8, device=device)
        assert scaled_dot_product_attention(q, q, q).shape == q.shape


@pytest.mark.parametrize("needs_gradient", [False, True])
def test_meta_tensors(needs_gradient: bool) -> None:
    """Tensors without memory give results without memory, of the right shapes."""
    def new(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta", requires_grad=needs_gradient)

    q, k, v, x = new(2, 5, 4, 8), new(2, 7, 2, 8), new(2, 7, 2, 6), new(2, 5, 8)
    calls = {
        "attention": (lambda: attention(q, k, v), [2, 5, 4, 6]),
        "linear_attention": (lambda: linear_attention(k, k, v)[0], [2, 7, 2, 6]),
        "gated_scan": (lambda: gated_scan(x, x)[0], [2, 5, 8]),
        "scaled_dot_product_attention": (
            lambda: scaled_dot_product_attention(q, q, q), [2, 5, 4, 8]),
        "flash_cosine_sim_attention": (lambda: flash_cosine_sim_attention(q, q, q), [2, 5, 4, 8]),
    }
    for name, (call, shape) in calls.items():
        for _ in range(2):
            output = call()
            assert output.is_meta and list(output.shape) == shape, name
            assert output.requires_grad == needs_gradient, name
        if needs_gradient:
            leaf = {"gated_scan": x, "linear_attention": k}.get(name, q)
            gradient, = torch.autograd.grad(output.sum(), leaf)
            assert gradient.is_meta and gradient.shape == leaf.shape, name


def test_meta_tensors_beside_others() -> None:
    here, there = torch.ones(2, 5, 4, 8), torch.ones(2, 5, 4, 8, device="meta")
    for call in (
        lambda: attention(here, there, here), lambda: attention(there, here, there),
        lambda: linear_attention(here, there, here), lambda: linear_attention(there, here, there),
        lambda: gated_scan(here[0], there[0]), lambda: gated_scan(there[0], here[0]),
    ):
        with pytest.raises(ValueError, match="meta"):
            call()


def test_plans_are_bounded() -> None:
    plans = Plans()
    for index in range(10_000):
        plans.keep((index,), index)
        assert plans[(index,)] == index and len(plans) <= 4096


def test_subclasses(device: torch.device) -> None:
    class Named(Tensor):
        pass

    q, k, v = (t.detach() for t in tokens(device))
    output = scaled_dot_product_attention(q.as_subclass(Named), k, v)
    assert type(output) is Named
    parameter = torch.nn.Parameter(q)
    assert scaled_dot_product_attention(parameter, k, v).requires_grad


def test_negative_views(device: torch.device) -> None:
    """The imaginary part of a conjugate is memory with the opposite sign."""
    q, k, v = (t.detach() for t in tokens(device))
    negative = torch.complex(q, -q).conj().imag
    assert negative.is_neg()
    for _ in range(2):
        output = scaled_dot_product_attention(negative, k, v)
        assert torch.equal(output, scaled_dot_product_attention(q, k, v))


def test_gradient_modes(device: torch.device) -> None:
    q, k, v = tokens(device)
    for _ in range(2):
        assert scaled_dot_product_attention(q, k, v).requires_grad
        with torch.no_grad():
            assert not scaled_dot_product_attention(q, k, v).requires_grad
        with torch.inference_mode():
            assert scaled_dot_product_attention(q, k, v).is_inference()


def test_saved_tensors(device: torch.device) -> None:
    """Saved tensors may be packed by hooks, and changing them is detected."""
    q, k, v = tokens(device)
    expected = torch.autograd.grad(scaled_dot_product_attention(q, k, v).sum(), q)[0]
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: t.detach().clone().transpose(-1, -2).contiguous(),
        lambda t: t.transpose(-1, -2),
    ):
        output = scaled_dot_product_attention(q, k, v)
    assert error(torch.autograd.grad(output.sum(), q)[0], expected) < 1e-6
    output = scaled_dot_product_attention(q, k, v)
    with torch.no_grad():
        k.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_checkpointing(device: torch.device) -> None:
    q, k, v = tokens(device)
    expected = torch.autograd.grad(scaled_dot_product_attention(q, k, v).sum(), q)[0]
    output = torch.utils.checkpoint.checkpoint(
        scaled_dot_product_attention, q, k, v, use_reentrant=False)
    assert error(torch.autograd.grad(output.sum(), q)[0], expected) == 0


def test_threads(device: torch.device) -> None:
    """Calls of one shape from several threads at once, each with its own numbers."""
    def work(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        q, k, v = (torch.randn(1, 4, 16, 32, generator=generator).to(device) for _ in range(3))
        reference = torch.nn.functional.scaled_dot_product_attention(
            q.double(), k.double(), v.double())
        return max(error(scaled_dot_product_attention(q, k, v), reference) for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(work, range(16))) < 1e-5


def test_number_of_threads_follows(device: torch.device) -> None:
    q, k, v = (t.detach() for t in tokens(device, length=300))
    expected = scaled_dot_product_attention(q, k, v)
    with threads(1):
        assert torch.equal(scaled_dot_product_attention(q, k, v), expected)
