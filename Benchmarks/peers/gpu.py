#!/usr/bin/env python3
"""Attention on an NVIDIA GPU, PyTorch, flash-linear-attention and this package in turn.

    python3 Benchmarks/peers/gpu.py --tool ./attention

It needs PyTorch with CUDA; flash-linear-attention (fla-core) is timed if it can be imported. Both sides
get the same inputs. The tool runs `attention time … --device cuda` in a separate process that waits while
the peer runs. Outputs are compared before the timing.

A turn is one call with a cold GPU cache, timed by events (--cold); in the short cases it is consecutive
calls, so that enqueueing them counts. Sides take turns. Columns: the medians, the ratio of the medians
(above 1: this package is faster), the spread of the ratio over the turns (10th to 90th percentile), and
the package's rate as a fraction of the ceiling: a matrix product of 8192³ in the same dtype, or a copy.
Operations are those of the matrix products inside the mask, five of them backward; for linear attention
those of the recurrence; bytes are keys and values, or states, once.
"""

import argparse
import os
import re
import statistics
import tempfile
import warnings

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from side_by_side import (DTYPES, Tool, check_agreement, own_output, report, write_rows,
                          write_safetensors)

HIDDEN, TOKENS = 2048, 16384
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cuDNN": SDPBackend.CUDNN_ATTENTION,
            "efficient": SDPBackend.EFFICIENT_ATTENTION}


class Stopwatch:
    """Seconds of calls by events; `cold` ones find the cache full of something else."""

    def __init__(self):
        bytes_of_cache = torch.cuda.get_device_properties(0).L2_cache_size
        self.scrubber = torch.empty(2 * bytes_of_cache, dtype=torch.uint8, device="cuda")
        self.start, self.end = torch.cuda.Event(True), torch.cuda.Event(True)

    def seconds(self, call, repetitions):
        if repetitions == 1:
            self.scrubber.zero_()
        self.start.record()
        for _ in range(repetitions):
            call()
        self.end.record()
        self.end.synchronize()
        return self.start.elapsed_time(self.end) / 1e3 / repetitions


def take_turns(arguments, calls, options, watch, repetitions):
    """Seconds of the tool and of each of `calls` by its name, in turn, and the tool's last answer."""
    own, theirs = [], {name: [] for name in calls}
    for call in calls.values():
        call()
    cold = ["--cold"] if repetitions == 1 else []
    tool = Tool(options.tool, [*arguments, "--device", "cuda", *cold], os.cpu_count(), 0.02)
    for _ in range(options.rounds):
        for name, call in calls.items():
            theirs[name].append(watch.seconds(call, repetitions))
        torch.cuda.synchronize()
        answer = tool.turn()
        own.append(answer["seconds"])
    tool.close()
    return own, theirs, answer


def exact_calls(case, q, k, v, slope):
    """PyTorch's calls by backend, for the case's pass."""
    calls = {}
    for name, backend in BACKENDS.items():
        def forward(backend=backend):
            with sdpa_kernel([backend]):
                return F.scaled_dot_product_attention(
                    q, k, v, is_causal=case["causal"], enable_gqa=q.shape[1] != k.shape[1])

        try:
            with torch.no_grad():
                forward()
            if case["pass"] == "forward":
                def call(forward=forward):
                    with torch.no_grad():
                        return forward()
            else:
                output = forward()

                def call(output=output):
                    return torch.autograd.grad(output, (q, k, v), slope, retain_graph=True)
                call()
        except RuntimeError:
            continue
        calls[name] = call
    return calls


def exact_case(case, options, ceilings, folder, watch):
    dtype = DTYPES[case["dtype"]]
    b, t, s, h, hk, d = (case[key] for key in (
        "batch", "queries", "length", "heads", "key_heads", "dimension"))
    tensors = {name: torch.randn(b, n, heads, d).to(dtype) for name, n, heads in (
        ("queries", t, h), ("keys", s, hk), ("values", s, hk))}
    if case["pass"] == "backward":
        tensors["output_gradient"] = torch.randn(b, t, h, d).to(dtype)
    path = os.path.join(folder, "case.safetensors")
    write_safetensors(path, tensors)
    flags = ["--causal"] if case["causal"] else []
    q, k, v = (tensors[name].cuda().transpose(1, 2).requires_grad_(case["pass"] == "backward")
               for name in ("queries", "keys", "values"))
    slope = tensors["output_gradient"].cuda().transpose(1, 2) if case["pass"] == "backward" else None
    calls = exact_calls(case, q, k, v, slope)
    if case["pass"] == "forward":
        theirs = next(iter(calls.values()))().transpose(1, 2).float().cpu()
        own = own_output("softmax", path, [*flags, "--device", "cuda"], options, folder)
        check_agreement(case, own, theirs)
    own, theirs, answer = take_turns(
        ["softmax", path, "--pass", case["pass"], *flags], calls, options, watch,
        case.get("repetitions", 1))
    best = min(theirs, key=lambda name: statistics.median(theirs[name]))
    others = ", ".join(f"{name} {1e6 * statistics.median(times):.0f} µs"
                       for name, times in theirs.items())
    pairs = b * h * (s * (s + 1) / 2 if case["causal"] else t * s)
    work = 2 * pairs * d * (2 if case["pass"] == "forward" else 5)
    ceiling, unit = ceilings[case["dtype"]], "GFLOP/s"
    if t == 1:
        work, ceiling, unit = 2 * b * s * hk * d * k.element_size(), ceilings["copy"], "GB/s"
    return report(case, own, theirs[best], f"{best} of {others}", work, ceiling, unit,
                  answer["kernel"], answer["extra_bytes"])


def exact_cases():
    for dtype, dimensions, lengths in (("bfloat16", (64, 128), (16384, 4096, 1024)),
                                       ("float16", (64,), (4096,)),
                                       ("float32", (64, 128), (4096, 1024))):
        for d in dimensions:
            for length in lengths:
                for causal in (False, True):
                    for which in ("forward", "backward"):
                        mask = " causal" if causal else ""
                        yield dict(name=f"{which} {dtype} {length} x {d}{mask}", dtype=dtype,
                                   batch=TOKENS // length, queries=length, length=length,
                                   heads=HIDDEN // d, key_heads=HIDDEN // d, dimension=d,
                                   causal=causal, **{"pass": which})
    for which in ("forward", "backward"):
        yield dict(name=f"short {which} bfloat16 [4,8,128,64]", dtype="bfloat16", batch=4, queries=128,
                   length=128, heads=8, key_heads=8, dimension=64, causal=False, repetitions=200,
                   **{"pass": which})
    for batch in (1, 8):
        for key_heads in (32, 4):
            yield dict(name=f"decoding bfloat16 batch {batch}, {key_heads} key heads",
                       dtype="bfloat16", batch=batch, queries=1, length=16384, heads=32,
                       key_heads=key_heads, dimension=128, causal=False, **{"pass": "forward"})


def linear_functions():
    """flash-linear-attention's function of each case, where it can be imported; its kernels compute
    gradients wrongly with some versions of Triton on Hopper, so only forward passes are compared."""
    try:
        import fla.ops.common.chunk_o
        fla.ops.common.chunk_o.IS_NVIDIA_HOPPER = False
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule
        from fla.ops.gla import chunk_gla
        from fla.ops.linear_attn import chunk_linear_attn
        from fla.ops.simple_gla import chunk_simple_gla
    except ImportError:
        return {}
    return {
        "linear": lambda x: chunk_linear_attn(x["queries"], x["keys"], x["values"], normalize=False),
        "simple GLA": lambda x: chunk_simple_gla(x["queries"], x["keys"], x["values"], x["decay"]),
        "GLA": lambda x: chunk_gla(x["queries"], x["keys"], x["values"], x["decay"]),
        "gated delta": lambda x: chunk_gated_delta_rule(
            x["queries"], x["keys"], x["values"], x["decay"], x["beta"], use_qk_l2norm_in_kernel=True),
    }


def linear_case(name, length, which, options, ceilings, folder, watch, function):
    torch.manual_seed(0)
    h, d = HIDDEN // 128, 128
    case = dict(name=f"{name} {which} bfloat16 {length} x {d}", dtype="bfloat16", length=length)
    case["pass"] = which
    tensors = {part: torch.randn(1, length, h, d).to(torch.bfloat16)
               for part in ("queries", "keys", "values")}
    if name != "linear":
        gates = (1, length, h, d) if name == "GLA" else (1, length, h)
        tensors["decay"] = -torch.rand(gates) * 0.2
    if name == "gated delta":
        tensors["beta"] = torch.rand(1, length, h)
    if which == "backward":
        tensors["output_gradient"] = torch.randn(1, length, h, d).to(torch.bfloat16)
    path = os.path.join(folder, "case.safetensors")
    write_safetensors(path, tensors)
    flags = ["--l2norm"] if name == "gated delta" else []
    calls = {}
    if function and which == "forward":
        inputs = {part: tensor.cuda() for part, tensor in tensors.items()}

        def call():
            with torch.no_grad():
                return function(inputs)[0]
        theirs = call().float().cpu()
        own = own_output("linear", path, [*flags, "--device", "cuda"], options, folder)
        check_agreement(case, own, theirs)
        calls = {"fla": call}
    own, theirs, answer = take_turns(
        ["linear", path, "--pass", which, *flags], calls, options, watch, 1)
    work = length * h * d * d * (6 if name == "gated delta" else 4) * (1 if which == "forward" else 2)
    return report(case, own, theirs.get("fla"), "fla" if calls else "", work, ceilings["bfloat16"],
                  "GFLOP/s", answer["kernel"], answer["extra_bytes"])


def measure_ceilings(watch):
    """Operations a second of large products by dtype, and bytes a second of a copy."""
    n, numbers = 8192, 1 << 28

    def best(call):
        call()
        return min(watch.seconds(call, 1) for _ in range(5))
    rates = {}
    for name, dtype in DTYPES.items():
        matrix = torch.randn(n, n, device="cuda", dtype=dtype)
        rates[name] = 2 * n ** 3 / best(lambda: matrix @ matrix)
    source = torch.zeros(numbers, device="cuda")
    target = torch.empty_like(source)
    rates["copy"] = 2 * 4 * numbers / best(lambda: target.copy_(source))
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tool", default=".build/release/attention")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="cases in whose name this expression is found")
    parser.add_argument("--json", help="write the rows to this file")
    options = parser.parse_args()
    options.threads = os.cpu_count()
    # A backend that does not take a case says why in many of them.
    warnings.simplefilter("ignore")
    watch = Stopwatch()
    ceilings = measure_ceilings(watch)
    print(f"{torch.cuda.get_device_name(0)}, PyTorch {torch.__version__}; ceilings: "
          + ", ".join(f"{name} {ceilings[name] / 1e12:.0f} TFLOP/s" for name in DTYPES)
          + f", copy {ceilings['copy'] / 1e9:.0f} GB/s")
    print(f"{'case':44} {'peer':>6} {'own':>6} {'':8} {'ratio':>5} {'spread':13} {'ceil':>5}"
          f" {'extra':>10}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in exact_cases():
            if re.search(options.only, case["name"]):
                rows.append(exact_case(case, options, ceilings, folder, watch))
        functions = linear_functions()
        for name in ("linear", "simple GLA", "GLA", "gated delta"):
            for length in (4096, 16384):
                for which in ("forward", "backward"):
                    if re.search(options.only, f"{name} {which} bfloat16 {length} x 128"):
                        rows.append(linear_case(name, length, which, options, ceilings, folder, watch,
                                                functions.get(name)))
    write_rows(rows, options, ceilings)


main()
