#!/usr/bin/env python3
"""Exact attention and matrix products on the CPU, PyTorch and this package in turn.

    pip install torch==2.13.0
    swift build -c release
    python3 Benchmarks/peers/exact_cpu.py --tool .build/release/attention

In every case both sides get the same inputs and the same number of threads. PyTorch runs
torch.nn.functional.scaled_dot_product_attention on [batch, heads, length, dimension], with its flash
and its math implementation; the faster of the two counts. The tool runs `attention time` on
[batch, length, heads, dimension] in a separate process that waits while PyTorch runs. Outputs are
compared before the timing.

A turn repeats the call for at least --turn-seconds, and the sides take --rounds turns. Columns: the
medians, the ratio of the medians (above 1: this package is faster), the spread of the ratio over the
rounds (10th to 90th percentile), and the package's rate as a fraction of the ceiling measured by
`attention devices --measure`: multiply-adds in registers for float32, dot products of pairs for
bfloat16, read bandwidth for decoding. Operations are those of the matrix products inside the mask, five
of them backward; bytes are keys and values, once.

The cases "visible" are of this package alone: the time with a mask relative to no mask, and the
fraction of pairs that the mask leaves. Work is done in tiles of 64 queries by 128 keys, which a narrow
window fills only partly.
"""

import argparse
import os
import statistics
import tempfile

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from side_by_side import (DTYPES, add_options, check_agreement, header, measured_ceilings, own_output,
                          report, take_turns, write_rows, write_safetensors)


def peer_calls(case, q, k, v, seed):
    """PyTorch's calls by backend, for the case's pass."""
    calls = {}
    for name, backend in (("flash", SDPBackend.FLASH_ATTENTION), ("math", SDPBackend.MATH)):
        # The math implementation keeps whole score matrices: it is left out where they are large.
        if name == "math" and case["length"] > 4096:
            continue

        def forward(backend=backend):
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(
                    q, k, v, is_causal=case["causal"], enable_gqa=case["heads"] != case["key_heads"])

        if case["pass"] == "forward":
            def call(forward=forward):
                with torch.no_grad():
                    return forward()
        else:
            output = forward()

            def call(output=output):
                return torch.autograd.grad(output, (q, k, v), seed, retain_graph=True)
        try:
            call()
        except RuntimeError:
            continue
        calls[name] = call
    return calls


def attention_case(case, options, ceilings, folder):
    dtype = DTYPES[case["dtype"]]
    torch.manual_seed(0)
    b, s, h, hk, d = (case[key] for key in ("batch", "length", "heads", "key_heads", "dimension"))
    t = case.get("queries", s)
    q, k, v, seed = (torch.randn(b, n, heads, d).to(dtype)
                     for n, heads in ((t, h), (s, hk), (s, hk), (t, h)))
    path = os.path.join(folder, "case.safetensors")
    tensors = {"queries": q, "keys": k, "values": v}
    if case["pass"] == "backward":
        tensors["output_gradient"] = seed
    write_safetensors(path, tensors)
    flags = (["--causal"] if case["causal"] else [])
    operator = case.get("operator", "softmax")
    q, k, v, seed = (x.transpose(1, 2).contiguous() for x in (q, k, v, seed))
    if case["pass"] == "backward":
        q, k, v = (x.requires_grad_() for x in (q, k, v))
    calls = peer_calls(case, q, k, v, seed)

    if operator == "softmax":
        with torch.no_grad():
            theirs = F.scaled_dot_product_attention(
                q, k, v, is_causal=case["causal"], enable_gqa=h != hk).transpose(1, 2)
        check_agreement(case, own_output(operator, path, flags, options, folder), theirs)

    own, theirs, answer = take_turns(
        [operator, path, "--pass", case["pass"], *flags], calls, options)
    best = min(theirs, key=lambda name: statistics.median(theirs[name]))
    pairs = b * h * (s * (s + 1) // 2 if case["causal"] else t * s)
    work = 2 * pairs * d * (2 if case["pass"] == "forward" else 5)
    ceiling = ceilings["bfloat16" if case["dtype"] == "bfloat16" else "float32"]
    unit = "GFLOP/s"
    if t == 1:
        work, ceiling, unit = 2 * b * s * hk * d * k.element_size(), ceilings["read_bandwidth"], "GB/s"
    return report(case, own, theirs[best], best, work, ceiling, unit, answer["kernel"],
                  answer["extra_bytes"])


def matmul_case(case, options, ceilings, folder):
    dtype = DTYPES[case["dtype"]]
    n = case["length"]
    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    path = os.path.join(folder, "case.safetensors")
    write_safetensors(path, {"left": a, "right": b})
    own, theirs, answer = take_turns(["matmul", path], {"matmul": lambda: a @ b}, options)
    return report(case, own, theirs["matmul"], "matmul", 2 * n ** 3, ceilings[case["dtype"]],
                  "GFLOP/s", "matmul", answer["extra_bytes"])


def masks(length):
    """Name, flags, tensors and visible share of masks over `length` keys."""
    causal = (length + 1) / 2 / length

    def window(left):
        return sum(min(i, left) + 1 for i in range(length)) / length ** 2

    half = torch.arange(length)[None, :] < length // 2
    yield "nothing hidden", [], {}, 1.0
    yield "causal", ["--causal"], {}, causal
    for left in (1024, 256):
        yield f"causal, {left} back", ["--causal", "--window", f"{left},all"], {}, window(left)
    yield "half the keys are padding", [], {"key_mask": half}, 0.5
    lengths = torch.arange(0, length + 1, length // 8, dtype=torch.int32)
    yield "8 packed sequences", [], {"cumulative_lengths": lengths}, 1 / 8


def visible_case(case, options, ceilings, folder):
    """Time against the visible share: this package alone, each mask beside no mask."""
    dtype = DTYPES[case["dtype"]]
    torch.manual_seed(0)
    shape = (1, case["length"], case["heads"], case["dimension"])
    tensors = {name: torch.randn(shape).to(dtype) for name in ("queries", "keys", "values")}
    if case["pass"] == "backward":
        tensors["output_gradient"] = torch.randn(shape).to(dtype)
    whole, rows = None, []
    for name, flags, extra, share in masks(case["length"]):
        path = os.path.join(folder, "case.safetensors")
        write_safetensors(path, dict(tensors, **extra))
        own, _, _ = take_turns(["softmax", path, "--pass", case["pass"], *flags], {}, options)
        seconds = statistics.median(own)
        whole = whole or seconds
        rows.append(dict(case, mask=name, seconds=seconds, visible=share, cost=seconds / whole))
        print(f"{case['name']:36} {name:26} visible {100 * share:5.1f} %,"
              f" time {100 * seconds / whole:5.1f} %  ({1e3 * seconds:.2f} ms)", flush=True)
    return rows


def cases(quick):
    def attention(name, **values):
        base = dict(batch=1, heads=8, key_heads=8, causal=False, operator="softmax")
        base.update(values, name=name)
        return base

    for dtype in ("float32", "bfloat16", "float16"):
        for step in ("forward", "backward"):
            for d in (64, 128):
                for length in ((1024,) if quick else (1024, 4096, 16384)):
                    for causal in (False, True):
                        if dtype == "float16" and (length != 1024 or causal):
                            continue
                        heads = 2 if length == 16384 else 8
                        yield attention(
                            f"{step} {dtype} {length} x {d}{' causal' if causal else ''}",
                            dtype=dtype, dimension=d, length=length, causal=causal, heads=heads,
                            key_heads=heads, **{"pass": step})
            yield attention(f"{step} {dtype} short 4x8x128x64", dtype=dtype, dimension=64, length=128,
                            batch=4, **{"pass": step})
    for dtype in ("float32", "bfloat16"):
        for batch in (1,) if quick else (1, 8):
            for group in (8, 1):
                yield attention(
                    f"decode {dtype} batch {batch}, {group} heads a key head", dtype=dtype,
                    dimension=64, length=16384, queries=1, batch=batch, key_heads=8 // group,
                    **{"pass": "forward"})
        yield dict(name=f"matmul {dtype} 2048", dtype=dtype, length=2048)
    for dtype in ("float32", "bfloat16"):
        for step in ("forward", "backward"):
            yield dict(name=f"visible {step} {dtype} 4096 x 64", dtype=dtype, length=4096,
                       dimension=64, heads=8, **{"pass": step})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ceilings = measured_ceilings(options)
    header(options, ceilings)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(options.quick):
            if options.only in case["name"]:
                if case["name"].startswith("visible"):
                    rows += visible_case(case, options, ceilings, folder)
                else:
                    run = matmul_case if case["name"].startswith("matmul") else attention_case
                    rows.append(run(case, options, ceilings, folder))
    write_rows(rows, options, ceilings)


if __name__ == "__main__":
    main()
