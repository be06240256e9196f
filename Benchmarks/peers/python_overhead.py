#!/usr/bin/env python3
"""The cost of a call from Python: this package and torch's own scaled_dot_product_attention.

    pip install ./python
    python3 Benchmarks/peers/python_overhead.py [--device cuda] [--threads N]

The sides take --rounds turns. Columns: microseconds per call, the median of the turns and the fastest,
and the ratios of both (below 1: this package is faster). The short case measures the overhead of a call,
the long one the kernels. Outputs are compared before the timing. The row "recorded" is the forward pass
of tensors that require gradients, "forward and backward" includes the gradients.
"""

import argparse
import os
import statistics
import time

import torch
import torch.nn.functional as F

from swift_attention import flash_cosine_sim_attention, scaled_dot_product_attention

SHORT, LONG = (1, 8, 16, 64), (1, 8, 4096, 64)
AGREEMENT = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 5e-3}


def forward(function, tensors, options):
    return lambda: function(*tensors, **options)


def both(function, tensors, options):
    incoming = torch.ones_like(tensors[0])

    def call():
        function(*tensors, **options).backward(incoming)
        for tensor in tensors:
            tensor.grad = None

    return call


def turn(call, count, device):
    """Microseconds a call."""
    begin = time.perf_counter()
    for _ in range(count):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / count * 1e6


def compare(name, own, theirs, device, options):
    """Prints a row."""
    count = max(1, int(options.turn_seconds * 1e6 / turn(own, 3, device)))
    sides = [[], []]
    for _ in range(options.rounds):
        for side, call in zip(sides, (own, theirs)):
            side.append(turn(call, count, device))
    (mine, peer), (best, peer_best) = map(statistics.median, sides), map(min, sides)
    print(f"{name:44} {mine:9.1f} {peer:9.1f} {mine / peer:6.2f} {best:9.1f} {peer_best:9.1f}"
          f" {best / peer_best:6.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=AGREEMENT)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--turn-seconds", type=float, default=0.1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    print(f"PyTorch {torch.__version__}, {device}, {options.dtype}, {options.threads} threads")
    print(f"{'microseconds a call':44} {'own':>9} {'torch':>9} {'ratio':>6} {'fastest':>9}"
          f" {'torch':>9} {'ratio':>6}")
    native = F.scaled_dot_product_attention
    for shape in (SHORT, LONG):
        plain = [torch.randn(shape, device=device, dtype=dtype) for _ in range(3)]
        tracked = [tensor.clone().requires_grad_() for tensor in plain]
        for flags in ({}, {"is_causal": True}):
            deviation = (scaled_dot_product_attention(*plain, **flags) - native(*plain, **flags))
            assert deviation.abs().max() < AGREEMENT[options.dtype] * 4, deviation.abs().max()
            name = f"{'x'.join(map(str, shape))}{', causal' if flags else ''}"
            own = scaled_dot_product_attention
            compare(name, forward(own, plain, flags), forward(native, plain, flags), device, options)
            if not flags:
                compare(f"{name}, recorded", forward(own, tracked, flags),
                        forward(native, tracked, flags), device, options)
                compare(f"{name}, forward and backward", both(own, tracked, flags),
                        both(native, tracked, flags), device, options)
        compare(f"{'x'.join(map(str, shape))}, cosine beside softmax",
                forward(flash_cosine_sim_attention, plain, {}), forward(native, plain, {}), device,
                options)


if __name__ == "__main__":
    main()
