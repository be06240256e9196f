#!/usr/bin/env python3
"""The ladder of small kernels, step by step, compared with cuBLAS on one NVIDIA GPU.

    python3 Benchmarks/peers/ladder.py [--nvrtc FOLDER] [--size N]

It needs PyTorch with CUDA and NVRTC (the folder of libnvrtc.so; by default that of PyTorch's own wheels).
Each step multiplies two N × N matrices of bfloat16. Its result is compared with PyTorch's, and the median
time by events is printed.
"""

import argparse
import ctypes
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "Scripts"))
from nvrtc import Compiler  # noqa: E402

TILE_BYTES = 128 * 64 * 2
BARRIERS_BYTES = 64
# Name, rows of a block, columns, threads, shared memory, architecture.
STEPS = [
    ("1_naive", 16, 16, 256, 0, "sm_{}"),
    ("2_shared", 128, 128, 256, 2 * 16 * 132 * 4, "sm_{}"),
    ("3_fragments", 128, 128, 256, 2 * TILE_BYTES, "sm_{}"),
    ("4_pipeline", 128, 128, 256, 3 * 2 * TILE_BYTES, "sm_{}"),
    ("5_warpgroup", 128, 128, 256, 3 * 2 * TILE_BYTES, "sm_{}a"),
    ("6_tma", 256, 128, 384, 4 * 3 * TILE_BYTES + BARRIERS_BYTES, "sm_{}a"),
]


class Parameters(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in "abc"] + [
        (name, ctypes.c_int) for name in ("m", "n", "k", "unused")]


def aligned(size, boundary):
    """Zeroed memory that begins at a multiple of `boundary`, and its address."""
    memory = ctypes.create_string_buffer(size + boundary)
    return memory, -(-ctypes.addressof(memory) // boundary) * boundary


def mapped(parameters, boxes):
    """A kernel's parameters behind a map of each matrix, of which boxes of 64 columns are copied."""
    map_bytes, alignment = 128, 64
    memory, start = aligned(len(boxes) * map_bytes + ctypes.sizeof(parameters), alignment)
    for index, (matrix, rows) in enumerate(boxes):
        # The axes of attention, innermost first: columns, heads, rows, batch.
        sizes = (ctypes.c_uint64 * 4)(matrix.shape[1], 1, matrix.shape[0], 1)
        pitch = matrix.stride(0) * matrix.element_size()
        strides = (ctypes.c_uint64 * 3)(pitch, pitch, pitch)
        box = (ctypes.c_uint32 * 4)(64, 1, rows, 1)
        steps = (ctypes.c_uint32 * 4)(1, 1, 1, 1)
        bfloat16, swizzle_128, promotion_256 = 9, 3, 3
        call("cuTensorMapEncodeTiled", ctypes.c_void_p(start + index * map_bytes), bfloat16, 4,
             ctypes.c_void_p(matrix.data_ptr()), sizes, strides, box, steps, 0, swizzle_128,
             promotion_256, 0)
    place = start + len(boxes) * map_bytes
    ctypes.memmove(place, ctypes.byref(parameters), ctypes.sizeof(parameters))
    return memory, start


def call(name, *arguments, driver=ctypes.CDLL("libcuda.so.1")):
    status = getattr(driver, name)(*arguments)
    if status:
        raise RuntimeError(f"{name} failed with {status}")


def load(compiler, name, shared_bytes, architecture):
    code, _ = compiler.compile(f"ladder/{name}.cu", [], architecture)
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    call("cuModuleLoadData", ctypes.byref(module), code)
    call("cuModuleGetFunction", ctypes.byref(function), module, f"ladder_{name}".encode())
    dynamic_shared_bytes = 8
    call("cuFuncSetAttribute", function, dynamic_shared_bytes, shared_bytes)
    return function


def median(body, turns=7):
    times = []
    for turn in range(turns + 1):
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record()
        body()
        end.record()
        end.synchronize()
        if turn:
            times.append(start.elapsed_time(end) / 1e3)
    return sorted(times)[turns // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nvrtc", type=pathlib.Path)
    parser.add_argument("--size", type=int, default=8192)
    options = parser.parse_args()
    n = options.size
    packages = pathlib.Path(torch.__file__).parent.parent / "nvidia"
    compiler = Compiler(options.nvrtc or next(packages.glob("*/lib/libnvrtc.so.*")).parent)
    properties = torch.cuda.get_device_properties(0)
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    exact = (a @ b.T).float()
    print(f"{properties.name}, {n} x {n} x {n}, bfloat16")
    print(f"{'cuBLAS':12} {2 * n ** 3 / median(lambda: a @ b.T) / 1e12:7.1f} TFLOP/s")
    for name, rows, columns, threads, shared_bytes, architecture in STEPS:
        function = load(compiler, name, shared_bytes,
                        architecture.format(f"{properties.major}{properties.minor}"))
        c = torch.full((n, n), float("nan"), device="cuda")
        parameters = Parameters(a.data_ptr(), b.data_ptr(), c.data_ptr(), n, n, n, 0)
        boxes = [(a, rows), (b, columns)] if name == "6_tma" else []
        memory, start = mapped(parameters, boxes)
        pointers = (ctypes.c_void_p * 1)(start)

        def launch():
            stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
            call("cuLaunchKernel", function, n // columns, n // rows, 1, threads, 1, 1, shared_bytes,
                 stream, pointers, None)

        launch()
        torch.cuda.synchronize()
        error = ((c - exact).norm() / exact.norm()).item()
        assert error <= 1e-2, f"{name}: error {error}"
        print(f"{name:12} {2 * n ** 3 / median(launch) / 1e12:7.1f} TFLOP/s", flush=True)


main()
