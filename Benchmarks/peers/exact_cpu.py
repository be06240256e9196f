#!/usr/bin/env python3
"""Exact attention and matrix products on the CPU, PyTorch and this package in turn.

    pip install torch==2.13.0
    swift build -c release
    python3 Benchmarks/peers/exact_cpu.py --tool .build/release/attention

For every case both sides get the same numbers and the same number of threads. PyTorch runs
torch.nn.functional.scaled_dot_product_attention on [batch, heads, length, dimension], with its flash
and its math implementation; the faster of the two counts. The tool runs `attention time` on
[batch, length, heads, dimension] in a process of its own that waits while PyTorch works. Before the
timing, outputs are compared.

A turn repeats the call for at least --turn-seconds; sides take turns --rounds times; printed are
medians, the ratio of the medians (above 1: this package is faster), the spread of the ratio over the
rounds (10th to 90th percentile), and the package's rate as a share of the ceiling that
`attention devices --measure` finds: multiply-adds in registers for float32, dot products of pairs for
bfloat16, read bandwidth for decoding. Operations are those of the products inside the mask, backward
five of them; bytes are keys and values, once.
"""

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SAFETENSORS = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
# The largest deviation of two right outputs, relative to the root mean square.
AGREEMENT = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 5e-3}


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": SAFETENSORS[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            tensor = tensor.contiguous()
            file.write(ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size()))


def read_tensor(path, name):
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + length + begin)
        data = bytearray(file.read(end - begin))
    dtype = {text: dtype for dtype, text in SAFETENSORS.items()}[entry["dtype"]]
    return torch.frombuffer(data, dtype=dtype).reshape(entry["shape"])


class Tool:
    """`attention time` as a process that runs a turn for each line."""

    def __init__(self, tool, arguments, threads, turn_seconds):
        environment = dict(os.environ, ATTENTION_THREADS=str(threads))
        self.process = subprocess.Popen(
            [tool, "time", *arguments, "--interactive", "--turn-seconds", str(turn_seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def turn(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("the tool ended: " + str(self.process.wait()))
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def turn(call, turn_seconds):
    """Seconds a call, over at least `turn_seconds`."""
    count, start = 0, time.perf_counter()
    while True:
        call()
        count += 1
        elapsed = time.perf_counter() - start
        if elapsed >= turn_seconds:
            return elapsed / count


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
        output = os.path.join(folder, "output.safetensors")
        subprocess.run([options.tool, "run", operator, path, "-o", output, *flags], check=True)
        own = read_tensor(output, "output").float()
        with torch.no_grad():
            theirs = F.scaled_dot_product_attention(
                q, k, v, is_causal=case["causal"], enable_gqa=h != hk).transpose(1, 2).float()
        deviation = ((own - theirs).norm() / theirs.norm()).item()
        if not deviation <= AGREEMENT[case["dtype"]]:
            sys.exit(f"{case}: outputs differ by {deviation}")

    tool = Tool(options.tool, [operator, path, "--pass", case["pass"], *flags], options.threads,
                options.turn_seconds)
    theirs, own, kernel, extra = {name: [] for name in calls}, [], "", 0
    for _ in range(options.rounds):
        for name, call in calls.items():
            theirs[name].append(turn(call, options.turn_seconds))
        answer = tool.turn()
        own.append(answer["seconds"])
        kernel, extra = answer["kernel"], answer["extra_bytes"]
    tool.close()
    best = min(theirs, key=lambda name: statistics.median(theirs[name]))
    pairs = b * h * (s * (s + 1) // 2 if case["causal"] else t * s)
    work = 2 * pairs * d * (2 if case["pass"] == "forward" else 5)
    ceiling = ceilings["bfloat16" if case["dtype"] == "bfloat16" else "float32"]
    unit = "GFLOP/s"
    if t == 1:
        work, ceiling, unit = 2 * b * s * hk * d * k.element_size(), ceilings["read_bandwidth"], "GB/s"
    return report(case, own, theirs[best], best, work, ceiling, unit, kernel, extra)


def matmul_case(case, options, ceilings, folder):
    dtype = DTYPES[case["dtype"]]
    n = case["length"]
    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    path = os.path.join(folder, "case.safetensors")
    write_safetensors(path, {"left": a, "right": b})
    tool = Tool(options.tool, ["matmul", path], options.threads, options.turn_seconds)
    theirs, own, extra = [], [], 0
    for _ in range(options.rounds):
        theirs.append(turn(lambda: a @ b, options.turn_seconds))
        answer = tool.turn()
        own.append(answer["seconds"])
        extra = answer["extra_bytes"]
    tool.close()
    return report(case, own, theirs, "matmul", 2 * n ** 3,
                  ceilings[case["dtype"]], "GFLOP/s", "matmul", extra)


def report(case, own, theirs, backend, work, ceiling, unit, kernel, extra):
    ratios = sorted(x / y for x, y in zip(theirs, own))
    mine, peer = statistics.median(own), statistics.median(theirs)
    row = dict(case, kernel=kernel, backend=backend, seconds=mine, peer_seconds=peer,
               rate=work / mine / 1e9, peer_rate=work / peer / 1e9, unit=unit, ratio=peer / mine,
               low=ratios[len(ratios) // 10], high=ratios[-1 - len(ratios) // 10],
               share=work / mine / ceiling, extra_bytes=extra)
    print(f"{case['name']:44} {row['peer_rate']:6.1f} {row['rate']:6.1f} {unit:8}"
          f" {row['ratio']:5.2f} ({row['low']:.2f}-{row['high']:.2f})  {100 * row['share']:4.0f} %"
          f"  {extra / 2 ** 20:8.1f} MiB  {kernel} / {backend}", flush=True)
    return row


def cases(quick):
    def attention(name, **values):
        base = dict(batch=1, heads=8, key_heads=8, causal=False, operator="softmax")
        base.update(values, name=name)
        return base

    for dtype in ("float32", "bfloat16", "float16"):
        for step in ("forward", "backward"):
            for d in (64, 128):
                for length in ((1024,) if quick else (1024, 4096, 16384)):
                    # The longest without a mask takes minutes and shows nothing that 4096 does not.
                    for causal in (False, True):
                        if length == 16384 and (not causal or d == 128 or step == "backward"):
                            continue
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tool", default=".build/release/attention")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn-seconds", type=float, default=0.1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", help="write the rows to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ceilings = json.loads(subprocess.run(
        [options.tool, "devices", "--measure", "--json"], check=True, capture_output=True,
        text=True).stdout)
    print(f"PyTorch {torch.__version__}, {options.threads} threads; ceilings: float32 "
          f"{ceilings['float32'] / 1e9:.0f} GFLOP/s, bfloat16 {(ceilings['bfloat16'] or 0) / 1e9:.0f}, "
          f"read {ceilings['read_bandwidth'] / 1e9:.1f} GB/s")
    print(f"{'case':44} {'torch':>6} {'own':>6} {'':8} {'ratio':>5} {'spread':13} {'ceil':>5}"
          f" {'extra':>10}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(options.quick):
            if options.only in case["name"]:
                run = matmul_case if case["name"].startswith("matmul") else attention_case
                rows.append(run(case, options, ceilings, folder))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"torch": torch.__version__, "threads": options.threads, "ceilings": ceilings,
                       "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
