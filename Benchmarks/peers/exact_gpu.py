#!/usr/bin/env python3
"""The GPU kernels of exact attention beside PyTorch's, on one NVIDIA GPU in one run.

    python3 Benchmarks/peers/exact_gpu.py [--nvrtc FOLDER] [--turns N]

It needs PyTorch with CUDA and NVRTC (the folder of libnvrtc.so; by default that of PyTorch's own wheels).
The kernels are compiled as `attention` compiles them, with the tiles that it chooses on Hopper, and are
launched on PyTorch's tensors. Each is compared with a float64 reference first, and only then timed, by
events, inputs drawn anew for each shape. What is timed is the kernels alone; backward, that of the row
sums, of the queries and of the keys together. Printed are medians: TFLOP/s, masked pairs not counted.

PyTorch's flash backend is FlashAttention-2, whose gradients of queries are summed in any order; those of
this package are the same in every run. Its cuDNN backend uses Hopper's own matrix instructions.
"""

import argparse
import ctypes
import math
import pathlib
import sys

import torch
import torch.nn.functional as functional
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "Scripts"))
from nvrtc import Compiler, forward, tile  # noqa: E402

HIDDEN, TOKENS = 2048, 16384
LENGTHS = [16384, 4096, 1024]
BF16 = torch.bfloat16
FORWARD_TILES = {64: (128, 96, 4, 2), 128: (128, 64, 4, 2)}
QUERIES_TILES = {64: (128, 48, 4, 2), 128: (128, 32, 4, 2)}
KEYS_TILES = {64: (32, 128, 4, 2), 128: (64, 64, 4, 2)}
STAGES, WARP, MEBI = 2, 32, 1 << 20


def structure(*fields):
    class Structure(ctypes.Structure):
        _fields_ = list(fields)
    return Structure


def named(kind, names):
    return [(name, kind) for name in names.split()]


POINTER, WIDE, NARROW = ctypes.c_void_p, ctypes.c_longlong, ctypes.c_int
Rows = structure(("base", POINTER), *named(WIDE, "batch row head"))
Forward = structure(
    *named(Rows, "queries keys values output"),
    *named(POINTER, "log_sums segments scale mask query_lengths key_lengths bounds sinks"),
    ("softcap", ctypes.c_float), ("unused1", NARROW), *named(POINTER, "slopes bias"),
    ("bias_strides", WIDE * 4), ("decay", POINTER), *named(NARROW, "t s group unused2"))
RowSums = structure(
    *named(POINTER, "output slope log_sums_gradient delta"), ("count", WIDE),
    *named(NARROW, "t heads pitch dimension"))
Backward = structure(
    *named(Rows, "queries keys values slope queries_gradient keys_gradient values_gradient"),
    *named(POINTER, "log_sums delta segments scale mask query_lengths key_lengths scale_gradient"),
    *named(NARROW, "t s group unused"))


def rows(tensor):
    return Rows(tensor.data_ptr(), tensor.stride(0), tensor.stride(1), tensor.stride(2))


class Kernel:
    driver = None

    def __init__(self, compiler, architecture, source, function, macros, shared_bytes):
        code, _ = compiler.compile(source, macros, architecture)
        module, self.function = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), code)
        self.call("cuModuleGetFunction", ctypes.byref(self.function), module, function)
        dynamic_shared_bytes = 8
        self.call("cuFuncSetAttribute", self.function, dynamic_shared_bytes, shared_bytes)
        self.shared_bytes = shared_bytes

    @classmethod
    def call(cls, name, *arguments):
        if cls.driver is None:
            cls.driver = ctypes.CDLL("libcuda.so.1")
        status = getattr(cls.driver, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} failed with {status}")

    def launch(self, grid, warps, parameters):
        pointers = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.byref(parameters), ctypes.c_void_p))
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self.call("cuLaunchKernel", self.function, *grid, warps * WARP, 1, 1, self.shared_bytes,
                  stream, pointers, None)


class Attention:
    """The kernels for one dimension, and a call of them."""

    def __init__(self, compiler, architecture, d):
        def shared(own, other, numbers):
            return 2 * 2 * d * (own + STAGES * other) + 4 * STAGES * other * numbers
        self.d, pair = d, (d, d)
        (query, key, _, _) = self.forward_tile = FORWARD_TILES[d]
        self.forward_kernel = Kernel(
            compiler, architecture, "attention/forward.cu", b"attention_forward",
            forward(pair, self.forward_tile), 2 * d * (query + 2 * STAGES * key))
        (query, key, _, _) = QUERIES_TILES[d]
        self.queries_kernel = Kernel(
            compiler, architecture, "attention/backward_queries.cu", b"attention_backward_queries",
            tile(pair, QUERIES_TILES[d]), shared(query, key, 0))
        (query, key, _, _) = KEYS_TILES[d]
        self.keys_kernel = Kernel(
            compiler, architecture, "attention/backward_keys.cu", b"attention_backward_keys",
            tile(pair, KEYS_TILES[d]), shared(key, query, 2))
        self.delta_kernel = Kernel(
            compiler, architecture, "attention/delta.cu", b"attention_delta", ["ELEMENT=bf16"], 0)

    def prepare(self, q, k, v, slope, causal):
        """Results are poisoned; what is not written shows."""
        (b, t, h, _), s = q.shape, k.shape[1]
        nothing = dict(device="cuda", dtype=torch.float32)
        far = 1 << 29
        self.inputs = q, k, v, slope
        self.segments = torch.tensor(
            [[i, 0, t, 0, s - t, -far, s - t + 1 if causal else far, s] for i in range(b)],
            dtype=torch.int32, device="cuda")
        self.scale = torch.full((h,), self.d ** -0.5, device="cuda")
        self.output = torch.full_like(q, math.nan)
        self.log_sums = torch.full((b, h, t), math.nan, **nothing)
        self.delta = torch.full((b, h, t), math.nan, **nothing)
        self.gradients = [torch.full(x.shape, math.nan, **nothing) for x in (q, k, v)]
        group = h // k.shape[2]
        common = dict(
            log_sums=self.log_sums.data_ptr(), segments=self.segments.data_ptr(),
            scale=self.scale.data_ptr(), queries=rows(q), keys=rows(k), values=rows(v), t=t, s=s,
            group=group)
        self.forward_call = Forward(output=rows(self.output), **common)
        self.delta_call = RowSums(
            output=self.output.data_ptr(), slope=slope.data_ptr(), delta=self.delta.data_ptr(),
            count=b * t * h, t=t, heads=h, pitch=self.d, dimension=self.d)
        queries_gradient, keys_gradient, values_gradient = map(rows, self.gradients)
        self.backward_call = Backward(
            slope=rows(slope), delta=self.delta.data_ptr(), queries_gradient=queries_gradient,
            keys_gradient=keys_gradient, values_gradient=values_gradient, **common)

    def forward(self):
        b, t, h, _ = self.inputs[0].shape
        query, _, warps, _ = self.forward_tile
        self.forward_kernel.launch((-(-t // query), h, b), warps, self.forward_call)

    def backward(self):
        (b, t, h, _), (_, s, groups, _) = self.inputs[0].shape, self.inputs[1].shape
        warps = 8
        self.delta_kernel.launch((-(-b * t * h // warps), 1, 1), warps, self.delta_call)
        query, _, warps, _ = QUERIES_TILES[self.d]
        self.queries_kernel.launch((-(-t // query), h, b), warps, self.backward_call)
        _, key, warps, _ = KEYS_TILES[self.d]
        self.keys_kernel.launch((-(-s // key), groups, b), warps, self.backward_call)


def reference(q, k, v, slope, causal):
    """The output and the gradients in float64."""
    leaves = [x.double().requires_grad_() for x in (q, k, v)]
    share = q.shape[2] // k.shape[2]
    queries, keys, values = [x.transpose(1, 2) for x in leaves]
    keys, values = keys.repeat_interleave(share, 1), values.repeat_interleave(share, 1)
    scores = queries @ keys.transpose(-1, -2) * q.shape[3] ** -0.5
    t, s = scores.shape[-2:]
    if causal:
        hidden = torch.ones(t, s, dtype=torch.bool, device="cuda").triu(s - t + 1)
        scores = scores.masked_fill(hidden, -math.inf)
    output = torch.nan_to_num(scores.softmax(-1), 0) @ values
    output = output.transpose(1, 2)
    return [output, *torch.autograd.grad(output, leaves, slope.double())]


def draw(b, t, s, h, groups, d):
    shapes = [(b, t, h, d), (b, s, groups, d), (b, s, groups, d), (b, t, h, d)]
    return [torch.randn(shape, device="cuda", dtype=BF16) for shape in shapes]


def validate(attention):
    largest = 0.0
    for b, t, s, h, groups, causal in [
            (2, 300, 300, 4, 2, False), (2, 257, 400, 2, 2, True), (1, 1, 513, 3, 3, True),
            (2, 640, 64, 2, 1, False), (1, 2048, 2048, 2, 2, True)]:
        inputs = draw(b, t, s, h, groups, attention.d)
        attention.prepare(*inputs, causal)
        attention.forward()
        attention.backward()
        first = [x.clone() for x in attention.gradients]
        attention.backward()
        torch.cuda.synchronize()
        assert all(map(torch.equal, first, attention.gradients)), "gradients differ between runs"
        for result, exact in zip([attention.output, *first], reference(*inputs, causal)):
            error = ((result.double() - exact).norm() / exact.norm()).item()
            assert error <= 1e-2, f"{attention.d} {b} {t} {s} {h} {groups} {causal}: error {error}"
            largest = max(largest, error)
    return largest


def median(call, turns):
    for _ in range(2):
        call()
    times = []
    for _ in range(turns):
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return sorted(times)[turns // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nvrtc", type=pathlib.Path)
    parser.add_argument("--turns", type=int, default=11)
    arguments = parser.parse_args()
    packages = pathlib.Path(torch.__file__).parent.parent / "nvidia"
    folder = arguments.nvrtc or next(packages.glob("*/lib/libnvrtc.so.*")).parent
    properties = torch.cuda.get_device_properties(0)
    torch.zeros(1, device="cuda")
    compiler = Compiler(folder)
    architecture = f"sm_{properties.major}{properties.minor}"
    left = torch.randn(8192, 8192, device="cuda", dtype=BF16)
    ceiling = 2 * 8192 ** 3 / median(lambda: left @ left, arguments.turns) / 1e12
    print(f"{properties.name}, PyTorch {torch.__version__}, NVRTC {folder}")
    print(f"bfloat16, {TOKENS} tokens, hidden {HIDDEN}; matrix product 8192³ {ceiling:.0f} TFLOP/s")
    head = f"{'d':>4} {'length':>7} {'causal':>7}"
    print(f"{head} | forward: cuda.flash  flash  cuDNN  ratio | backward: cuda.flash  flash  cuDNN  ratio")
    errors = {}
    for d in FORWARD_TILES:
        attention = Attention(compiler, architecture, d)
        errors[d] = validate(attention)
        for t in LENGTHS:
            b, h = TOKENS // t, HIDDEN // d
            for causal in (False, True):
                inputs = draw(b, t, t, h, h, d)
                pairs = b * h * t * t * (0.5 if causal else 1)
                attention.prepare(*inputs, causal)
                own = [4 * pairs * d / median(attention.forward, arguments.turns) / 1e12,
                       10 * pairs * d / median(attention.backward, arguments.turns) / 1e12]
                peers = [], []
                leaves = [x.transpose(1, 2).detach().requires_grad_() for x in inputs[:3]]
                slope = inputs[3].transpose(1, 2)
                for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
                    with sdpa_kernel([backend]):
                        call = lambda: functional.scaled_dot_product_attention(  # noqa: E731
                            *leaves, is_causal=causal)
                        with torch.no_grad():
                            peers[0].append(4 * pairs * d / median(call, arguments.turns) / 1e12)
                        output = call()
                        peers[1].append(10 * pairs * d / median(lambda: torch.autograd.grad(
                            output, leaves, slope, retain_graph=True), arguments.turns) / 1e12)
                parts = [
                    f"{mine:{width}.0f} {flash:6.0f} {cudnn:6.0f} {mine / flash:6.2f}"
                    for mine, (flash, cudnn), width in zip(own, peers, (19, 20))]
                print(f"{d:4} {t:7} {'yes' if causal else 'no':>7} | {parts[0]} | {parts[1]}", flush=True)
    for d, error in errors.items():
        print(f"d {d}: largest error {error:.1e} of outputs and gradients, beside float64")


main()
