#!/usr/bin/env python3
"""Linear attention on the CPU, PyTorch and this package in turn.

    python3 -m venv ~/peers
    ~/peers/bin/pip install torch==2.13.0 fla-core==0.6.0 triton==3.5.1 einops transformers
    swift build -c release
    ~/peers/bin/python Benchmarks/peers/linear_cpu.py --tool .build/release/attention

PyTorch computes each recurrence with flash-linear-attention's own references, in chunks and, if the
length allows it, token by token; the faster of the two counts. `versus softmax` rows compare the
recurrence with causal torch.nn.functional.scaled_dot_product_attention on the same shapes. Both sides
get the same inputs and threads and take turns as in exact_cpu.py; outputs are compared first.

The rate is also given as a fraction of the ceiling measured by `attention devices --measure`. Operations
are those of the chunked algorithm with chunks of 64 tokens, counted as in linear_recurrences.py, with
only the causal pairs of tokens. For decoding, bytes are the states, read once and written once, and the
ceiling is a copy, measured by PyTorch in the same run. `length` rows print the time per token and the
working memory from 4k to 256k tokens; their ratio is to the first of them. For scans see scans.py.
"""

import argparse
import os
import statistics
import tempfile

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F

from linear_recurrences import CHUNK, RECURRENCES
from scans import scan_case, scan_cases
from side_by_side import (DTYPES, add_options, check_agreement, header, measured_ceilings, own_output,
                          report, take_turns, turn, write_rows, write_safetensors)

# Token by token PyTorch takes long, and its backward pass keeps every state.
LONGEST_STEPWISE = {"forward": 4096, "backward": 1024}
# Beyond this, the states that PyTorch's chunked backward pass keeps crowd small machines.
LONGEST_BACKWARD = 65536


def make_inputs(case, recurrence):
    torch.manual_seed(0)
    b, t, h, d = (case[key] for key in ("batch", "length", "heads", "dimension"))
    dtype = DTYPES[case["dtype"]]
    x = {name: torch.randn(b, t, h, d).to(dtype) for name in ("queries", "keys", "values")}
    x.update({name: make(b, t, h, d) for name, make in recurrence.inputs.items()})
    return x


def peer_call(forward, x, step, seed):
    """A call of PyTorch's: `forward` of the inputs, or the gradients of a pass run before."""
    if step == "forward":
        def call():
            with torch.no_grad():
                return forward(x)
        return call
    leaves = {name: tensor.requires_grad_() for name, tensor in x.items()}
    output = forward(leaves)
    seed = seed.to(output.dtype)
    return lambda: torch.autograd.grad(output, list(leaves.values()), seed, retain_graph=True)


def softmax(x):
    """Causal exact attention, heads first as PyTorch wants them."""
    heads_first = (x[name].transpose(1, 2).contiguous() for name in ("queries", "keys", "values"))
    return F.scaled_dot_product_attention(*heads_first, is_causal=True).transpose(1, 2)


def sequence_case(case, recurrence, options, ceilings, folder):
    x = make_inputs(case, recurrence)
    step, t, d = case["pass"], case["length"], case["dimension"]
    seed = torch.randn_like(x["values"])
    path = os.path.join(folder, "case.safetensors")
    write_safetensors(path, dict(x, output_gradient=seed) if step == "backward" else x)
    flags = list(recurrence.flags)
    forwards = {"chunked": recurrence.chunked}
    if case["peer"] == "softmax":
        x = {name: x[name] for name in ("queries", "keys", "values")}
        forwards = {"sdpa": softmax}
    elif case["peer"] == "none" or (step == "backward" and t > LONGEST_BACKWARD):
        forwards = {}
    elif t <= LONGEST_STEPWISE[step] or recurrence.chunked is None:
        forwards["token by token"] = recurrence.stepwise
    forwards = {name: forward for name, forward in forwards.items() if forward is not None}
    if forwards and case["peer"] == "same":
        with torch.no_grad():
            check_agreement(case, own_output("linear", path, flags, options, folder),
                            next(iter(forwards.values()))(x))
    calls = {}
    for name, forward in forwards.items():
        # Some references change in place what their own gradient needs.
        try:
            call = peer_call(forward, x, step, seed)
            call()
        except RuntimeError:
            continue
        calls[name] = call
    own, theirs, answer = take_turns(
        ["linear", path, "--pass", step, *flags], calls, options)
    best = min(theirs, key=lambda name: statistics.median(theirs[name])) if theirs else ""
    work = case["batch"] * case["heads"] * (t / CHUNK) * recurrence.operations(d, d, step)
    ceiling = ceilings["bfloat16" if case["dtype"] == "bfloat16" else "float32"]
    return report(case, own, theirs.get(best), best, work, ceiling, "GFLOP/s", answer["kernel"],
                  answer["extra_bytes"])


def copy_bandwidth(floats, options):
    """Bytes a second, read and written, of copying as many numbers as the states have."""
    source, target = torch.zeros(floats), torch.zeros(floats)
    return 8 * floats / min(
        turn(lambda: target.copy_(source), options.turn_seconds) for _ in range(options.rounds))


def decode_case(case, recurrence, options, ceilings, folder):
    x = make_inputs(case, recurrence)
    b, h, d = case["batch"], case["heads"], case["dimension"]
    x["initial_state"] = torch.randn(b, h, d, d)
    path = os.path.join(folder, "case.safetensors")
    write_safetensors(path, x)
    own, _, answer = take_turns(["linear", path, *recurrence.flags], {}, options)
    floats = b * h * d * d
    return report(case, own, None, "", 8 * floats, copy_bandwidth(floats, options), "GB/s",
                  answer["kernel"], answer["extra_bytes"])


def length_rows(recurrence, step, options, folder):
    """Seconds and bytes a token, relative to the shortest sequence."""
    rows = []
    lengths = (1024, 4096) if options.quick else (4096, 16384, 65536, 262144)
    for t in lengths:
        case = dict(batch=1, length=t, heads=1, dimension=128, dtype="float32",
                    name=f"length {recurrence.name} {step} {t}", **{"pass": step})
        x = make_inputs(case, recurrence)
        path = os.path.join(folder, "case.safetensors")
        seed = {"output_gradient": torch.randn_like(x["values"])} if step == "backward" else {}
        write_safetensors(path, dict(x, **seed))
        own, _, answer = take_turns(["linear", path, "--pass", step, *recurrence.flags], {}, options)
        row = dict(case, kernel=answer["kernel"], seconds=statistics.median(own),
                   nanoseconds_a_token=1e9 * statistics.median(own) / t,
                   extra_bytes_a_token=answer["extra_bytes"] / t)
        first = rows[0] if rows else row
        row["ratio"] = row["nanoseconds_a_token"] / first["nanoseconds_a_token"]
        print(f"{case['name']:44} {row['nanoseconds_a_token']:8.1f} ns a token {row['ratio']:5.2f}"
              f"  {row['extra_bytes_a_token']:8.1f} bytes a token  {row['kernel']}", flush=True)
        rows.append(row)
    return rows


def cases(quick):
    shapes = [(1, 512, 2, 64)] if quick else [(1, 4096, 8, 128), (1, 65536, 1, 128)]
    softmax_shape = (1, 1024, 2, 64) if quick else (1, 16384, 8, 128)

    def case(recurrence, label, shape, dtype, step, peer):
        b, t, h, d = shape
        return dict(name=f"{recurrence.name} {step} {dtype} {label}", batch=b, length=t, heads=h,
                    dimension=d, dtype=dtype, peer=peer, **{"pass": step})

    for recurrence in RECURRENCES:
        for step in ("forward", "backward"):
            for dtype in ("float32", "bfloat16"):
                for shape in shapes:
                    label = "x".join(map(str, shape[1:]))
                    yield sequence_case, recurrence, case(
                        recurrence, label, shape, dtype, step, "same")
            yield sequence_case, recurrence, case(
                recurrence, "versus softmax", softmax_shape, "float32", step, "softmax")
        yield decode_case, recurrence, case(
            recurrence, "decode", (8 if quick else 128, 1, 8, 128), "float32", "forward", "none")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ceilings = measured_ceilings(options)
    header(options, ceilings)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for run, recurrence, case in cases(options.quick):
            if options.only in case["name"]:
                rows.append(run(case, recurrence, options, ceilings, folder))
        rows += [scan_case(case, options, folder) for case in scan_cases(options.quick)
                 if options.only in case["name"]]
        for recurrence in RECURRENCES:
            for step in ("forward", "backward"):
                if options.only in f"length {recurrence.name} {step}":
                    rows += length_rows(recurrence, step, options, folder)
    write_rows(rows, options, ceilings)


if __name__ == "__main__":
    main()
