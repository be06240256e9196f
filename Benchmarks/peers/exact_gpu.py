#!/usr/bin/env python3
"""The GPU kernels of exact attention beside PyTorch's, on one NVIDIA GPU in one run.

    python3 Benchmarks/peers/exact_gpu.py [--nvrtc FOLDER] [--turns N]

It needs PyTorch with CUDA and NVRTC (the folder of libnvrtc.so; by default that of PyTorch's own wheels).
The kernels are compiled as `attention` compiles them, with the tiles that it chooses on Hopper, and are
launched on PyTorch's tensors. Each is compared with a float64 reference first, and only then timed, by
events, inputs drawn anew for each shape. What is timed is the kernels alone; backward, that of the row
sums, of the queries and of the keys together. Printed are medians: TFLOP/s, masked pairs not counted.

PyTorch's flash backend is FlashAttention-2, whose gradients of queries are summed in any order; those of
this package are the same in every run. Its cuDNN backend uses Hopper's own matrix instructions. float32
is compared with PyTorch's memory-efficient backend, decoding (one query on a long cache) by the bytes of
keys and values a second.
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
from nvrtc import Compiler, flash, forward, hopper, keys, queries  # noqa: E402

HIDDEN, TOKENS = 2048, 16384
LENGTHS = [16384, 4096, 1024]
BF16, F32 = torch.bfloat16, torch.float32
ELEMENTS = {BF16: "bf16", F32: "tf32x3"}
# As the tool chooses them on Hopper (FlashTile.swift, FlashBackwardTile.swift).
FORWARD_TILES = {(BF16, 64): (128, 96, 4, 2), (BF16, 128): (128, 64, 4, 2),
                 (F32, 64): (128, 32, 4, 2), (F32, 128): (64, 16, 4, 2)}
QUERIES_TILES = {(BF16, 64): (128, 48, 4, 2), (BF16, 128): (128, 32, 4, 2),
                 (F32, 64): (64, 64, 4, 2), (F32, 128): (64, 16, 4, 2)}
KEYS_TILES = {(BF16, 64): (32, 128, 4, 2), (BF16, 128): (64, 64, 4, 2),
              (F32, 64): (32, 64, 4, 2), (F32, 128): (16, 64, 4, 2)}
SPLIT_TILES = {64: (16, 64, 1, 4), 128: (16, 32, 1, 4)}
# Rows of queries and keys, forward and of the two kernels of the backward pass; warpgroups have 64 rows.
HOPPER_FORWARD = {64: (192, 128), 128: (128, 128)}
HOPPER_BACKWARD = {64: ((128, 128), (96, 128)), 128: ((128, 128), (64, 128))}
STAGES, WARP, MEBI = 2, 32, 1 << 20
SPLITS_A_MULTIPROCESSOR, SMALLEST_SPLIT = 4, 128


def structure(*fields):
    class Structure(ctypes.Structure):
        _fields_ = list(fields)
    return Structure


def named(kind, names):
    return [(name, kind) for name in names.split()]


POINTER, WIDE, NARROW, REAL = ctypes.c_void_p, ctypes.c_longlong, ctypes.c_int, ctypes.c_float
Rows = structure(("base", POINTER), *named(WIDE, "batch row head"))
Segment = structure(*named(NARROW, "batch query query_count key place low high keys"))
Terms = structure(
    ("softcap", REAL), ("unused", NARROW), *named(POINTER, "slopes bias"), ("bias_strides", WIDE * 4),
    ("decay", POINTER))
Operands = structure(
    *named(Rows, "queries keys values"), ("segments", POINTER), ("whole", Segment),
    *named(POINTER, "scales mask query_lengths key_lengths"), ("terms", Terms), ("scale", REAL),
    *named(NARROW, "b t s heads group"))
Forward = structure(
    ("operands", Operands), ("output", Rows),
    *named(POINTER, "log_sums sinks partial_output partial_log_sums"),
    *named(REAL, "bound_factor bound_rise"), *named(NARROW, "splits unused"))
RowSums = structure(
    *named(Rows, "output slope"),
    *named(POINTER, "log_sums log_sums_gradient sinks delta shift sinks_gradient"), ("count", WIDE),
    *named(NARROW, "t heads dimension unused"))
Merge = structure(
    *named(POINTER, "partial_output partial_log_sums output log_sums"), ("rows", WIDE),
    *named(NARROW, "splits heads t pitch"))
Backward = structure(
    ("operands", Operands), *named(Rows, "slope queries_gradient keys_gradient values_gradient"),
    *named(POINTER, "shift delta scale_gradient query_sums key_sums"))


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
    """The kernels for one dimension and dtype, and a call of them."""

    def __init__(self, compiler, architecture, d, dtype=BF16, uses_hopper=True):
        self.compiler, self.architecture, self.d, self.dtype = compiler, architecture, d, dtype
        self.element, pair, size = ELEMENTS[dtype], (d, d), dtype.itemsize

        def shared(own, other, numbers):
            return 2 * size * d * (own + STAGES * other) + 4 * STAGES * other * numbers
        self.rows_kernel = self.kernel("rows", [f"ELEMENT={self.element}"], 0)
        if architecture == "sm_90" and dtype == BF16 and uses_hopper:
            prefix, architecture = "hopper_", "sm_90a"
            query, key = HOPPER_FORWARD[d]
            self.forward_tile = (query, key, query // 16, 1)
            self.queries_tile, self.keys_tile = [(*rows, 8, 1) for rows in HOPPER_BACKWARD[d]]
            macros = [flash(pair, KEY_ROWS=key, WARPGROUPS=query // 64),
                      hopper(pair, KEY_ROWS=self.queries_tile[1]),
                      hopper(pair, QUERY_ROWS=self.keys_tile[0])]
        else:
            self.queries_tile, self.keys_tile = QUERIES_TILES[dtype, d], KEYS_TILES[dtype, d]
            self.forward_tile, prefix = FORWARD_TILES[dtype, d], ""
            macros = [forward(pair, self.forward_tile, self.element),
                      queries(pair, self.queries_tile, self.element),
                      keys(pair, self.keys_tile, self.element)]
        (query, key, _, _) = self.forward_tile
        self.forward_kernel = self.kernel(
            prefix + "forward", macros[0], size * d * (query + 2 * STAGES * key), architecture)
        (query, key, _, _) = self.queries_tile
        self.queries_kernel = self.kernel(
            prefix + "backward_queries", macros[1], shared(query, key, 0), architecture)
        (query, key, _, _) = self.keys_tile
        self.keys_kernel = self.kernel(
            prefix + "backward_keys", macros[2], shared(key, query, 2), architecture)

    def kernel(self, name, macros, shared_bytes, architecture=None):
        return Kernel(self.compiler, architecture or self.architecture, f"attention/{name}.cu",
                      f"attention_{name}".encode(), macros, shared_bytes)

    def prepare(self, q, k, v, slope, causal):
        """Results are poisoned; what is not written shows."""
        (b, t, h, _), s = q.shape, k.shape[1]
        nothing = dict(device="cuda", dtype=F32)
        far = 1 << 29
        self.inputs = q, k, v, slope
        self.output = torch.full_like(q, math.nan)
        self.log_sums, self.delta, self.shift = [
            torch.full((b, h, t), math.nan, **nothing) for _ in range(3)]
        self.gradients = [torch.full_like(x, math.nan) for x in (q, k, v)]
        self.operands = Operands(
            queries=rows(q), keys=rows(k), values=rows(v),
            whole=Segment(0, 0, t, 0, s - t, -far, s - t + 1 if causal else far, s),
            scale=self.d ** -0.5, b=b, t=t, s=s, heads=h, group=h // k.shape[2])
        self.forward_call = Forward(
            operands=self.operands, output=rows(self.output), log_sums=self.log_sums.data_ptr(),
            splits=1)
        self.rows_call = RowSums(
            output=rows(self.output), slope=rows(slope), log_sums=self.log_sums.data_ptr(),
            delta=self.delta.data_ptr(), shift=self.shift.data_ptr(), count=b * t * h, t=t, heads=h,
            dimension=self.d)
        queries_gradient, keys_gradient, values_gradient = map(rows, self.gradients)
        self.backward_call = Backward(
            operands=self.operands, slope=rows(slope), shift=self.shift.data_ptr(),
            delta=self.delta.data_ptr(), queries_gradient=queries_gradient,
            keys_gradient=keys_gradient, values_gradient=values_gradient)

    def forward(self):
        b, t, h, _ = self.inputs[0].shape
        query, _, warps, _ = self.forward_tile
        self.forward_kernel.launch((-(-t // query), h, b), warps, self.forward_call)

    def prepare_split(self):
        """The same call with its keys split."""
        (b, t, h, _), (_, s, groups, _) = self.inputs[0].shape, self.inputs[1].shape
        tile = SPLIT_TILES[self.d]
        blocks = -(-t * (h // groups) // tile[0]) * groups * b
        processors = torch.cuda.get_device_properties(0).multi_processor_count
        self.splits = min(processors * SPLITS_A_MULTIPROCESSOR // blocks, s // SMALLEST_SPLIT)
        self.split_grid = (-(-t * (h // groups) // tile[0]) * self.splits, groups, b)
        self.split_kernel = self.kernel(
            "forward", forward((self.d, self.d), tile, self.element, SPLIT=1),
            self.dtype.itemsize * self.d * (tile[0] + 2 * STAGES * tile[1]))
        self.merge_kernel = self.kernel("merge", [f"ELEMENT={self.element}"], 0)
        self.parts = torch.full((self.splits, b, h, t, self.d), math.nan, device="cuda")
        self.part_sums = torch.full((self.splits, b, h, t), math.nan, device="cuda")
        self.forward_call.splits = self.splits
        self.forward_call.partial_output = self.parts.data_ptr()
        self.forward_call.partial_log_sums = self.part_sums.data_ptr()
        self.merge_call = Merge(
            self.parts.data_ptr(), self.part_sums.data_ptr(), self.output.data_ptr(),
            self.log_sums.data_ptr(), b * h * t, self.splits, h, t, self.d)

    def split_forward(self):
        self.split_kernel.launch(self.split_grid, 1, self.forward_call)
        warps = 4
        self.merge_kernel.launch((-(-self.merge_call.rows // warps), 1, 1), warps, self.merge_call)

    def backward(self):
        (b, t, h, _), (_, s, groups, _) = self.inputs[0].shape, self.inputs[1].shape
        warps = 8
        self.rows_kernel.launch((-(-b * t * h // warps), 1, 1), warps, self.rows_call)
        query, _, warps, _ = self.queries_tile
        self.queries_kernel.launch((-(-t // query), h, b), warps, self.backward_call)
        _, key, warps, _ = self.keys_tile
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


def draw(b, t, s, h, groups, d, dtype=BF16):
    shapes = [(b, t, h, d), (b, s, groups, d), (b, s, groups, d), (b, t, h, d)]
    return [torch.randn(shape, device="cuda", dtype=dtype) for shape in shapes]


def validate(attention):
    largest = 0.0
    for b, t, s, h, groups, causal in [
            (2, 300, 300, 4, 2, False), (2, 257, 400, 2, 2, True), (1, 1, 513, 3, 3, True),
            (2, 640, 64, 2, 1, False), (1, 2048, 2048, 2, 2, True)]:
        inputs = draw(b, t, s, h, groups, attention.d, attention.dtype)
        attention.prepare(*inputs, causal)
        attention.forward()
        attention.backward()
        first = [x.clone() for x in attention.gradients]
        attention.backward()
        torch.cuda.synchronize()
        assert all(map(torch.equal, first, attention.gradients)), "gradients differ between runs"
        for result, exact in zip([attention.output, *first], reference(*inputs, causal)):
            error = ((result.double() - exact).norm() / exact.norm()).item()
            bound = 1e-2 if attention.dtype == BF16 else 1e-5
            assert error <= bound, f"{attention.d} {b} {t} {s} {h} {groups} {causal}: error {error}"
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
    time_float32(compiler, architecture, arguments.turns)
    time_decoding(compiler, architecture, arguments.turns)
    time_short(compiler, architecture, arguments.turns)


def time_float32(compiler, architecture, turns):
    print(f"float32\n{'d':>4} {'length':>7} | forward: cuda.float32  efficient  ratio "
          "| backward: cuda.float32  efficient  ratio")
    torch.backends.cuda.matmul.allow_tf32 = False
    for d in (64, 128):
        attention = Attention(compiler, architecture, d, F32)
        error = validate(attention)
        for t in (16384, 4096, 1024):
            b, h = TOKENS // t, HIDDEN // d
            inputs = draw(b, t, t, h, h, d, F32)
            pairs = b * h * t * t
            attention.prepare(*inputs, False)
            own = [4 * pairs * d / median(attention.forward, turns) / 1e12,
                   10 * pairs * d / median(attention.backward, turns) / 1e12]
            leaves = [x.transpose(1, 2).detach().requires_grad_() for x in inputs[:3]]
            slope = inputs[3].transpose(1, 2)
            with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION]):
                call = lambda: functional.scaled_dot_product_attention(*leaves)  # noqa: E731
                with torch.no_grad():
                    peer = [4 * pairs * d / median(call, turns) / 1e12]
                output = call()
                peer.append(10 * pairs * d / median(lambda: torch.autograd.grad(
                    output, leaves, slope, retain_graph=True), turns) / 1e12)
            parts = [f"{mine:{width}.1f} {other:10.1f} {mine / other:6.2f}"
                     for mine, other, width in zip(own, peer, (21, 22))]
            print(f"{d:4} {t:7} | {parts[0]} | {parts[1]}", flush=True)
        print(f"d {d}: largest error {error:.1e}")


def time_decoding(compiler, architecture, turns):
    print(f"decoding, one query, bfloat16\n{'d':>4} {'keys':>7} {'heads':>9} | GB/s: cuda.flash  flash")
    for d, h, groups in [(64, 32, 32), (128, 32, 8), (128, 32, 32)]:
        attention = Attention(compiler, architecture, d)
        for s in (4096, 32768):
            b = 8
            inputs = draw(b, 1, s, h, groups, d)
            attention.prepare(*inputs, False)
            attention.prepare_split()
            attention.split_forward()
            exact = reference(*inputs, False)[0]
            error = ((attention.output.double() - exact).norm() / exact.norm()).item()
            assert error <= 1e-2, f"{d} {s}: error {error}"
            read = 2 * b * s * groups * d * 2
            own = read / median(attention.split_forward, turns) / 1e9
            q, k, v = [x.transpose(1, 2) for x in inputs[:3]]
            with sdpa_kernel([SDPBackend.FLASH_ATTENTION]), torch.no_grad():
                peer = read / median(lambda: functional.scaled_dot_product_attention(
                    q, k, v, enable_gqa=True), turns) / 1e9
            print(f"{d:4} {s:7} {h:4}/{groups:<4} | {own:16.0f} {peer:6.0f}", flush=True)


def time_short(compiler, architecture, turns):
    attention = Attention(compiler, architecture, 64)
    attention.prepare(*draw(4, 128, 128, 8, 8, 64), False)
    print(f"[4, 8, 128, 64] forward: {median(attention.forward, 10 * turns) * 1e6:.1f} µs")


main()
