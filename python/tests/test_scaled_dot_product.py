"""`scaled_dot_product_attention` compared with PyTorch's math implementation."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from support import check_against, dtypes_on, error
from swift_attention import scaled_dot_product_attention


def plain(*arguments, **options):
    with sdpa_kernel(SDPBackend.MATH):
        return torch.nn.functional.scaled_dot_product_attention(*arguments, **options)


# Shapes of query, key and value, and options.
SHAPES = {
    "one": ([1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], {}),
    "ragged": ([2, 3, 33, 20], [2, 3, 47, 20], [2, 3, 47, 20], {}),
    "causal": ([2, 3, 65, 64], [2, 3, 65, 64], [2, 3, 65, 64], {"is_causal": True}),
    "causal, fewer keys": ([1, 2, 70, 16], [1, 2, 37, 16], [1, 2, 37, 16], {"is_causal": True}),
    "causal, more keys": ([1, 2, 37, 16], [1, 2, 70, 16], [1, 2, 70, 16], {"is_causal": True}),
    "one query": ([2, 4, 1, 64], [2, 4, 130, 64], [2, 4, 130, 64], {}),
    "wide values": ([1, 2, 19, 24], [1, 2, 23, 24], [1, 2, 23, 72], {}),
    "scale": ([1, 2, 40, 128], [1, 2, 40, 128], [1, 2, 40, 128], {"scale": 0.31}),
    "negative scale": ([1, 2, 9, 32], [1, 2, 9, 32], [1, 2, 9, 32], {"scale": -1.0}),
    "grouped": ([2, 6, 21, 32], [2, 2, 21, 32], [2, 2, 21, 32], {"enable_gqa": True}),
    "multi-query": ([2, 6, 21, 32], [2, 1, 21, 32], [2, 1, 21, 32], {}),
    "one value head": ([2, 6, 21, 32], [2, 6, 21, 32], [2, 1, 21, 32], {}),
    "batch broadcast": ([2, 3, 12, 16], [1, 3, 15, 16], [2, 3, 15, 16], {}),
    "no batch": ([3, 12, 16], [3, 15, 16], [3, 15, 16], {"is_causal": True}),
    "no heads": ([12, 16], [15, 16], [15, 16], {}),
    "two batches": ([2, 3, 2, 12, 16], [3, 2, 15, 16], [2, 1, 2, 15, 16], {}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str, device: torch.device) -> None:
    q, k, v, options = SHAPES[name]
    for dtype in dtypes_on(device):
        tensors = [torch.randn(shape, device=device).to(dtype) for shape in (q, k, v)]
        check_against(
            lambda *t: scaled_dot_product_attention(*t, **options),
            lambda *t: plain(*t, **options), tensors, name)


# Shape of the mask for [2, 3, 21, 34], and whether it is bool.
MASKS = {
    "bool of pairs": ([21, 34], True),
    "bool of everything": ([2, 3, 21, 34], True),
    "bool of keys": ([2, 1, 1, 34], True),
    "bool of keys of all": ([34], True),
    "numbers of pairs": ([21, 34], False),
    "numbers of heads": ([3, 1, 34], False),
    "numbers of everything": ([2, 3, 21, 34], False),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks(name: str, device: torch.device) -> None:
    shape, is_bool = MASKS[name]
    for dtype in dtypes_on(device):
        q, k, v = (
            torch.randn(2, 3, n, 32, device=device).to(dtype) for n in (21, 34, 34))
        mask = torch.randn(shape, device=device)
        mask = mask > -0.5 if is_bool else mask.to(dtype)
        check_against(scaled_dot_product_attention, plain, [q, k, v, mask], name)


def test_mask_of_five_dimensions(device: torch.device) -> None:
    q, k, v = (torch.randn(2, 3, 2, n, 16, device=device) for n in (5, 7, 7))
    for shape in ([3, 1, 5, 7], [2, 1, 1, 1, 7], [5, 7]):
        check_against(
            scaled_dot_product_attention, plain,
            [q, k, v, torch.randn(shape, device=device)], f"mask {shape}")


def test_mask_of_float32_beside_half(device: torch.device) -> None:
    q, k, v = (torch.randn(1, 2, n, 16, device=device).bfloat16() for n in (5, 7, 7))
    mask = torch.randn(5, 7, device=device)
    reference = plain(q.double(), k.double(), v.double(), mask.double())
    assert error(scaled_dot_product_attention(q, k, v, mask), reference) < 1e-2


FILLS = [-1e7, -1e9, -1e10, -1e12, -1e30, 1e9, 1e30, "smallest", "largest"]


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("queries", [1, 4, 33])
def test_masks_of_one_number(queries: int, fill: object, device: torch.device) -> None:
    """Every key has the same weight, whatever its number, in the output and in all gradients."""
    for dtype in dtypes_on(device):
        limits = torch.finfo(dtype)
        number = {"smallest": limits.min, "largest": limits.max}.get(fill, fill)
        # With numbers of float64 size, scores do not vanish.
        if abs(number) > limits.max or dtype == torch.float64:
            continue
        q, k, v = (torch.randn(2, 3, n, 16, device=device).mul(0.1).to(dtype) for n in (queries, 37, 37))
        mask = torch.full((2, 1, queries, 37), number, dtype=dtype, device=device)
        upstream = torch.randn_like(q)
        inputs = [x.clone().requires_grad_() for x in (q, k, v)]
        output = scaled_dot_product_attention(*inputs, attn_mask=mask)
        output.backward(upstream)
        # With 10^30, scores vanish in float64 too; with float16's largest they do not in float32.
        vanished = mask.double().sign() * 1e30 if abs(number) > 1e6 else mask.double()
        wide = [x.double().requires_grad_() for x in (q, k, v)]
        expected = plain(*wide, attn_mask=vanished)
        expected.backward(upstream.double())
        bound = {torch.bfloat16: 1e-2, torch.float16: 2e-3}.get(dtype, 1e-5)
        name = f"{dtype} {number} {queries}"
        assert error(output, expected) < bound, name
        for own, right in zip(inputs, wide):
            assert error(own.grad, right.grad) < 10 * bound, name


def test_padding_masks_of_transformers(device: torch.device) -> None:
    """Rows of left padding have only `finfo.min`: they are means, and nothing is NaN."""
    q, k, v = (torch.randn(2, 2, 9, 16, device=device, requires_grad=True) for _ in range(3))
    smallest = torch.finfo(torch.float32).min
    mask = torch.full((9, 9), smallest, device=device).triu(1).expand(2, 1, 9, 9).clone()
    mask[1, :, :, :4] = smallest
    output = scaled_dot_product_attention(q, k, v, attn_mask=mask)
    output.square().sum().backward()
    own = [output] + [x.grad for x in (q, k, v)]
    wide = [x.detach().double().requires_grad_() for x in (q, k, v)]
    expected = plain(*wide, attn_mask=mask.double())
    expected.square().sum().backward()
    for x, y in zip(own, [expected] + [x.grad for x in wide]):
        assert error(x, y) < 1e-4


def test_large_queries_and_keys_choose_one(device: torch.device) -> None:
    chosen = torch.eye(8, device=device)[None, None] * 1e6
    values = torch.randn(1, 1, 8, 8, device=device)
    q, k, v = (x.clone().requires_grad_() for x in (chosen, chosen, values))
    output = scaled_dot_product_attention(q, k, v)
    upstream = torch.randn_like(output)
    output.backward(upstream)
    assert error(output, values) < 1e-6
    assert error(v.grad, upstream) < 1e-6
    # The rounding error of a gradient of zero, times keys of 1e6.
    for own in (q, k):
        assert own.grad.abs().max() < 1e6 * 1e-5


# For a mask of pairs: a call may take at most as much memory as a copy in the mask's own dtype. A copy
# in float32 would take two or four times as much.
MEMORY = '''
import pathlib, sys, torch
from swift_attention import scaled_dot_product_attention

def bytes_of(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

length, dtype = 8000, getattr(torch, sys.argv[1])
q, k, v = torch.randn(3, 1, 1, length, 32, requires_grad=True)
mask = torch.ones(length, length, dtype=dtype).tril_()
# Threads and what is made once.
few = [x[:, :, :64] for x in (q, k, v)]
scaled_dot_product_attention(*few, mask[:64, :64]).sum().backward()
before = bytes_of("VmRSS")
pathlib.Path("/proc/self/clear_refs").write_text("5")
output = scaled_dot_product_attention(q, k, v, mask)
if sys.argv[2] == "backward":
    output.sum().backward()
print(bytes_of("VmHWM") - before, mask.nbytes)
'''


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's count of a process's memory")
@pytest.mark.parametrize("dtype", ["bfloat16", "bool"])
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_a_mask_is_not_copied(dtype: str, way: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", MEMORY, dtype, way], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    extra, own = map(int, result.stdout.split())
    assert extra < own


def test_query_without_keys_gives_zeros(device: torch.device) -> None:
    q, k, v = (torch.randn(1, 2, n, 16, device=device, requires_grad=True) for n in (5, 7, 7))
    mask = torch.ones(5, 7, dtype=torch.bool, device=device)
    mask[3] = False
    for given in (mask, torch.where(mask, 0.0, float("-inf"))):
        output = scaled_dot_product_attention(q, k, v, given)
        assert (output[:, :, 3] == 0).all()
        gradients = torch.autograd.grad(output.sum(), (q, k, v))
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert (gradients[0][:, :, 3] == 0).all()


LAYOUTS = {
    "tokens outside": lambda b, h, t, d, new: new(b, t, h, d).transpose(1, 2),
    "packed": lambda b, h, t, d, new: new(b, t, 3, h, d)[:, :, 1].transpose(1, 2),
    "dimension outside": lambda b, h, t, d, new: new(b, h, d, t).transpose(2, 3),
    "every other": lambda b, h, t, d, new: new(b, h, 2 * t, 2 * d)[:, :, ::2, 1::2],
    "heads repeated": lambda b, h, t, d, new: new(b, 1, t, d).expand(b, h, t, d),
    "offset": lambda b, h, t, d, new: new(b * h * t * d + 3)[3:].view(b, h, t, d),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str, device: torch.device) -> None:
    def new(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device).to(dtype)

    for dtype in dtypes_on(device):
        tensors = [LAYOUTS[name](2, 3, t, 16, new) for t in (17, 29, 29)]
        check_against(scaled_dot_product_attention, plain, tensors, name)


def test_output_lies_as_the_query(device: torch.device) -> None:
    q = torch.randn(2, 3, 5, 16, device=device)
    assert scaled_dot_product_attention(q, q, q).is_contiguous()
    q = torch.randn(2, 5, 3, 16, device=device).transpose(1, 2)
    output = scaled_dot_product_attention(q, q, q)
    assert output.transpose(1, 2).is_contiguous()


def test_gradient_of_any_layout(device: torch.device) -> None:
    q, k, v = (torch.randn(2, 3, 9, 16, device=device, requires_grad=True) for _ in range(3))
    reference = torch.autograd.grad(plain(q, k, v).sum(), (q, k, v))
    # The gradient of a sum is one number everywhere, with strides of 0.
    own = torch.autograd.grad(scaled_dot_product_attention(q, k, v).sum(), (q, k, v))
    for one, other in zip(own, reference):
        assert error(one, other) < 1e-4
    incoming = torch.randn(2, 3, 16, 9, device=device).transpose(2, 3)
    reference = torch.autograd.grad(plain(q, k, v), (q, k, v), incoming)
    own = torch.autograd.grad(scaled_dot_product_attention(q, k, v), (q, k, v), incoming)
    for one, other in zip(own, reference):
        assert error(one, other) < 1e-4


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2), (3,)])
def test_some_gradients(needed: tuple, device: torch.device) -> None:
    tensors = [torch.randn(2, 3, 9, 16, device=device) for _ in range(3)]
    tensors.append(torch.randn(3, 9, 9, device=device))
    for index in needed:
        tensors[index].requires_grad_()
    wanted = [tensors[index] for index in needed]
    own = torch.autograd.grad(scaled_dot_product_attention(*tensors).square().sum(), wanted)
    reference = torch.autograd.grad(plain(*tensors).square().sum(), wanted)
    for one, other in zip(own, reference):
        assert error(one, other) < 1e-4


@pytest.mark.parametrize(
    "shapes",
    [([0, 2, 3, 4],) * 3, ([2, 2, 0, 4], [2, 2, 5, 4], [2, 2, 5, 4]),
     ([2, 2, 5, 4], [2, 2, 0, 4], [2, 2, 0, 4])])
def test_nothing(shapes: tuple, device: torch.device) -> None:
    q, k, v = (torch.randn(shape, device=device, requires_grad=True) for shape in shapes)
    for _ in range(2):
        output = scaled_dot_product_attention(q, k, v)
        assert output.shape == (*shapes[0][:3], shapes[2][3])
        assert (output == 0).all()
        for gradient, tensor in zip(torch.autograd.grad(output.sum(), (q, k, v)), (q, k, v)):
            assert gradient.shape == tensor.shape and (gradient == 0).all()


def test_the_same_again_and_elsewhere(device: torch.device) -> None:
    """A second call of the same shapes reads its own memory, not the first one's."""
    for _ in range(3):
        q, k, v = (torch.randn(1, 8, 16, 64, device=device) for _ in range(3))
        reference = plain(q.double(), k.double(), v.double())
        for _ in range(2):
            assert error(scaled_dot_product_attention(q, k, v), reference) < 1e-5
