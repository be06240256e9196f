"""The rows of linear_cpu.py for scans: the gated scan, and Mamba's selective scan.

PyTorch's side computes the recurrences token by token, and for the gated scan also cumulative sums in
chunks short enough that nothing overflows; the faster counts. The ceiling of a gated scan is a copy: its
bytes are inputs, decay and output, and backward decay, output and its gradient read and two gradients
written. The ceiling of a selective scan is torch.exp of numbers in the first-level cache, counting one
exponential per token, channel and state, forward and backward alike, whatever is recomputed. PyTorch's
exponentials may be slow; `attention bench scan` compares with a plain loop.
"""

import os
import statistics

import torch

from side_by_side import DTYPES, check_agreement, own_output, report, take_turns, turn, write_safetensors

# Within so many tokens e^-sum stays finite for the gates drawn here.
CHUNK = 64
STATES = 16
# Token by token PyTorch keeps every state for its backward pass.
LONGEST_BACKWARD = 1024


def gated_stepwise(x):
    keep, h = x["decay"].float().exp(), torch.zeros_like(x["inputs"][:, 0].float())
    states = []
    for t in range(x["inputs"].shape[1]):
        h = keep[:, t] * h + x["inputs"][:, t]
        states.append(h)
    return torch.stack(states, 1).to(x["inputs"].dtype)


def gated_running_sums(x):
    h, parts = torch.zeros_like(x["inputs"][:, :1].float()), []
    for inputs, decay in zip(x["inputs"].float().split(CHUNK, 1), x["decay"].float().split(CHUNK, 1)):
        sums = decay.cumsum(1)
        part = sums.exp() * (h + (inputs * (-sums).exp()).cumsum(1))
        h = part[:, -1:]
        parts.append(part)
    return torch.cat(parts, 1).to(x["inputs"].dtype)


def selective_stepwise(x):
    inputs, step = x["inputs"].float(), x["step"].float()
    h, outputs = torch.zeros(*inputs[:, 0].shape, STATES), []
    for t in range(inputs.shape[1]):
        keep = (step[:, t, :, None] * x["state_matrix"]).exp()
        h = keep * h + (step[:, t] * inputs[:, t])[..., None] * x["input_matrix"][:, t, None]
        outputs.append((h * x["output_matrix"][:, t, None]).sum(-1))
    return torch.stack(outputs, 1).to(x["inputs"].dtype)


def gated_inputs(b, t, d, dtype):
    return {"inputs": torch.randn(b, t, d).to(dtype), "decay": (-0.1 * torch.rand(b, t, d)).to(dtype)}


def selective_inputs(b, t, d, dtype):
    return {"inputs": torch.randn(b, t, d).to(dtype),
            "step": (0.001 + 0.1 * torch.rand(b, t, d)).to(dtype),
            "state_matrix": -1 - 15 * torch.rand(d, STATES),
            "input_matrix": torch.randn(b, t, STATES), "output_matrix": torch.randn(b, t, STATES)}


SCANS = {"gated scan": (gated_inputs, {"token by token": gated_stepwise,
                                       "running sums": gated_running_sums}),
         "selective scan": (selective_inputs, {"token by token": selective_stepwise})}


def call_of(forward, x, step, seed):
    if step == "forward":
        def call():
            with torch.no_grad():
                return forward(x)
        return call
    leaves = {name: tensor.requires_grad_() for name, tensor in x.items()}
    output = forward(leaves)
    return lambda: torch.autograd.grad(output, list(leaves.values()), seed, retain_graph=True)


def copied_bytes(numbers, options):
    """Bytes a second, read and written, of copying so many float32."""
    source, target = torch.zeros(numbers), torch.zeros(numbers)
    return 8 * numbers / min(
        turn(lambda: target.copy_(source), options.turn_seconds) for _ in range(options.rounds))


def exponentials(options):
    """Exponentials a second of as many numbers as the first caches of all threads hold."""
    source = -torch.rand(options.threads * 4096)
    target = torch.empty_like(source)
    return source.numel() / min(
        turn(lambda: torch.exp(source, out=target), options.turn_seconds)
        for _ in range(options.rounds))


def scan_case(case, options, folder):
    torch.manual_seed(0)
    make, forwards = SCANS[case["scan"]]
    b, t, d, step = case["batch"], case["length"], case["channels"], case["pass"]
    x = make(b, t, d, DTYPES[case["dtype"]])
    seed = torch.randn_like(x["inputs"])
    path = os.path.join(folder, "case.safetensors")
    write_safetensors(path, dict(x, output_gradient=seed) if step == "backward" else x)
    with torch.no_grad():
        check_agreement(case, own_output("scan", path, (), options, folder),
                        next(iter(forwards.values()))(x))
    if step == "backward" and t > LONGEST_BACKWARD:
        forwards = {name: run for name, run in forwards.items() if name != "token by token"}
    calls = {name: call_of(run, x, step, seed) for name, run in forwards.items()}
    own, theirs, answer = take_turns(["scan", path, "--pass", step], calls, options)
    best = min(theirs, key=lambda name: statistics.median(theirs[name])) if theirs else ""
    if case["scan"] == "gated scan":
        moved = 3 if step == "forward" else 5
        work, unit = moved * x["inputs"].numel() * x["inputs"].element_size(), "GB/s"
        ceiling = copied_bytes(x["inputs"].numel(), options)
    else:
        work, unit = x["inputs"].numel() * STATES, "Gexp/s"
        ceiling = exponentials(options)
    return report(case, own, theirs.get(best), best, work, ceiling, unit, answer["kernel"],
                  answer["extra_bytes"])


def scan_cases(quick):
    """The cases that `scan_case` runs."""
    shapes = {"gated scan": [(1, 512, 256)] if quick else [(1, 4096, 2048), (1, 65536, 256)],
              "selective scan": [(1, 256, 64)] if quick else [(1, 1024, 1536), (1, 4096, 1536)]}
    for scan in SCANS:
        for step in ("forward", "backward"):
            for dtype in ("float32", "bfloat16"):
                for b, t, d in shapes[scan]:
                    yield dict(name=f"{scan} {step} {dtype} {t}x{d}", scan=scan, batch=b, length=t,
                               channels=d, dtype=dtype, **{"pass": step})
