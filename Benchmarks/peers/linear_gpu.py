#!/usr/bin/env python3
"""Linear attention on a GPU through PyTorch: this package and flash-linear-attention.

    python3 Benchmarks/peers/linear_gpu.py [--rounds 5] [--only REGEX] [--fla] [--json FILE]

Each row is one call in bfloat16, forward or backward. A side is measured over at least 100 ms of consecutive
calls, so that clocks are those of steady load; sides take turns, and the median of the rounds counts.
Before anything is timed, outputs and gradients at a short length are compared with the recurrence in float64.
`--fla` needs flash-linear-attention on the path, whose gated gradients are wrong on Hopper with some versions
of Triton: those are timed but not compared.
"""

import argparse
import json
import re
import statistics
import sys
import time

import torch

SHAPES = {"8 x 2048": (8, 2048, 16, 128), "1 x 16384": (1, 16384, 16, 128)}
LEAST_SECONDS = 0.1
# Errors of outputs and gradients at most, as for every kernel in bfloat16.
BOUND = 1e-2


def draw(family, b, t, h, d, seed=0):
    """Inputs of a family by the recurrence's names, on the GPU."""
    generator = torch.Generator("cuda").manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, device="cuda")

    def unit(*shape):
        return torch.nn.functional.normalize(normal(*shape), dim=-1).bfloat16()

    x = {"q": normal(b, t, h, d).bfloat16(), "k": normal(b, t, h, d).bfloat16(),
         "v": normal(b, t, h, d).bfloat16()}
    uniform = torch.rand(b, t, h, generator=generator, device="cuda")
    if family.gate == "head":
        x["g"] = torch.log(1 - torch.exp2(-5.0 - torch.arange(h, device="cuda", dtype=torch.float32)))
    if family.gate == "token":
        x["g"] = -0.2 * uniform
    if family.gate == "channel":
        x["g"] = -0.2 * torch.rand(b, t, h, d, generator=generator, device="cuda")
    if family.update == "delta":
        x["q"], x["k"] = unit(b, t, h, d), unit(b, t, h, d)
        x["beta"] = torch.rand(b, t, h, generator=generator, device="cuda")
    if family.update == "low rank":
        a = unit(b, t, h, d)
        x["a"], x["b"] = -a, (a.float() * torch.rand(b, t, h, d, device="cuda", generator=generator)).bfloat16()
    return x


def recurrence(family, x):
    """The definition, token by token in float64."""
    q, k, v = (x[name].double() for name in "qkv")
    b, t, h, d = q.shape
    state = torch.zeros(b, h, d, v.shape[3], dtype=torch.float64, device="cuda")
    outputs = []
    gate = x["g"].double().exp() if "g" in x else None
    for i in range(t):
        before = state
        if gate is not None:
            factor = gate[None, :, None, None] if gate.dim() == 1 else (
                gate[:, i, :, None, None] if gate.dim() == 3 else gate[:, i, :, :, None])
            state = state * factor
        write = v[:, i]
        if "beta" in x:
            write = x["beta"][:, i, :, None].double() * (
                write - torch.einsum("bhkv,bhk->bhv", state, k[:, i]))
        if "a" in x:
            found = torch.einsum("bhkv,bhk->bhv", before, x["a"][:, i].double())
            state = state + torch.einsum("bhk,bhv->bhkv", x["b"][:, i].double(), found)
        state = state + torch.einsum("bhk,bhv->bhkv", k[:, i], write)
        outputs.append(torch.einsum("bhkv,bhk->bhv", state, q[:, i]) * d ** -0.5)
    return torch.stack(outputs, 1)


class Family:
    def __init__(self, name, module, function, gate=None, update=None, arguments=None):
        self.name, self.module, self.function = name, module, function
        self.gate, self.update = gate, update
        self.arguments = arguments or (lambda x: ((x["q"], x["k"], x["v"]), {}))

    def load(self, package):
        """The function of `package`, by inputs."""
        module = __import__(f"{package}.{self.module}", fromlist=[self.function])
        function = getattr(module, self.function)

        def call(x):
            positional, named = self.arguments(x)
            return function(*positional, **named)[0]
        return call


def gated(x):
    return (x["q"], x["k"], x["v"], x["g"]), {}


FAMILIES = [
    Family("linear attention", "linear_attn", "chunk_linear_attn",
           arguments=lambda x: ((x["q"], x["k"], x["v"]), {"normalize": False})),
    Family("retention", "simple_gla", "chunk_simple_gla", gate="head",
           arguments=lambda x: ((x["q"], x["k"], x["v"]), {"g_gamma": x["g"]})),
    Family("simple GLA", "simple_gla", "chunk_simple_gla", gate="token", arguments=gated),
    Family("GLA", "gla", "chunk_gla", gate="channel", arguments=gated),
    Family("DeltaNet", "delta_rule", "chunk_delta_rule", update="delta",
           arguments=lambda x: ((x["q"], x["k"], x["v"], x["beta"]), {})),
    Family("Gated DeltaNet", "gated_delta_rule", "chunk_gated_delta_rule", gate="token", update="delta",
           arguments=lambda x: ((x["q"], x["k"], x["v"], x["g"], x["beta"]), {})),
    Family("Kimi Delta Attention", "kda", "chunk_kda", gate="channel", update="delta",
           arguments=lambda x: ((x["q"], x["k"], x["v"], x["g"], x["beta"]), {})),
    Family("RWKV-7", "rwkv7", "chunk_rwkv7", gate="channel", update="low rank",
           arguments=lambda x: ((x["q"], x["g"], x["k"], x["v"], x["a"], x["b"]), {})),
]


def error(result, reference):
    return ((result.double() - reference).pow(2).mean().sqrt()
            / reference.pow(2).mean().sqrt().clamp_min(1e-300)).item()


def validate_long(family, call, t=2309):
    """The error of the output of a sequence that is cut into pieces."""
    x = draw(family, 1, t, 2, 128, seed=2)
    scale = 1 if family.name != "RWKV-7" else x["q"].shape[3] ** 0.5
    with torch.no_grad():
        return error(call(x), recurrence(family, x) * scale)


def validate(family, call, t=197):
    """The errors of output and gradients against the recurrence in float64."""
    x = draw(family, 2, t, 2, 128, seed=1)
    # Decays per head are constants of retention.
    wanted = [name for name, tensor in x.items() if tensor.dim() > 1]
    for name in wanted:
        x[name].requires_grad_()
    scale = 1 if family.name != "RWKV-7" else x["q"].shape[3] ** 0.5
    wide = {name: tensor.detach().double().requires_grad_() for name, tensor in x.items()}
    slope = torch.randn(x["v"].shape, device="cuda").bfloat16()
    output, reference = call(x), recurrence(family, wide) * scale
    own = torch.autograd.grad(output, [x[name] for name in wanted], slope)
    theirs = torch.autograd.grad(reference, [wide[name] for name in wanted], slope.double())
    return error(output, reference), {name: error(a, b) for name, a, b in zip(wanted, own, theirs)}


def timed(call):
    """Seconds of one call, over at least `LEAST_SECONDS` of them back to back."""
    call()
    torch.cuda.synchronize()
    count = 4
    while True:
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        seconds = start.elapsed_time(end) / 1e3
        if seconds >= LEAST_SECONDS:
            return seconds / count
        count = max(2 * count, int(1.2 * count * LEAST_SECONDS / max(seconds, 1e-4)))


def host_seconds(call, count=50):
    """Seconds in which the processor queues a call."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(count):
        call()
    seconds = (time.perf_counter() - began) / count
    torch.cuda.synchronize()
    return seconds


def calls(function, x, which):
    if which == "forward":
        def call():
            with torch.no_grad():
                return function(x)
        return call
    # Of decays per head flash-linear-attention has no gradient.
    inputs = {name: tensor.detach().requires_grad_(tensor.dim() > 1) for name, tensor in x.items()}
    output = function(inputs)
    slope = torch.randn_like(output)
    wanted = [tensor for tensor in inputs.values() if tensor.requires_grad]
    return lambda: torch.autograd.grad(output, wanted, slope, retain_graph=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows in whose name this expression is found")
    parser.add_argument("--fla", action="store_true", help="compare with flash-linear-attention")
    parser.add_argument("--json", help="write the rows to this file")
    options = parser.parse_args()
    torch.manual_seed(0)
    print(f"{torch.cuda.get_device_name(0)}, PyTorch {torch.__version__}")
    if options.fla:
        import fla.ops.common.chunk_o
        fla.ops.common.chunk_o.IS_NVIDIA_HOPPER = False
    rows, failed = [], []
    print(f"{'row':48} {'own ms':>8} {'spread':>13} {'host':>7} {'fla ms':>8} {'ratio':>6}")
    for family in FAMILIES:
        names = [f"{family.name} {shape} {which}" for shape in SHAPES for which in ("forward", "backward")]
        if not any(re.search(options.only, name) for name in names):
            continue
        own = family.load("swift_attention.fla")
        output, gradients = validate(family, own)
        long = validate_long(family, own)
        worst = max([output, long, *gradients.values()])
        print(f"{family.name}: errors output {output:.1e}, of a long sequence {long:.1e}, "
              + ", ".join(f"{name} {value:.1e}" for name, value in gradients.items()), flush=True)
        if not worst <= BOUND:
            failed.append(family.name)
        peer = family.load("fla.ops") if options.fla else None
        for shape, sizes in SHAPES.items():
            x = draw(family, *sizes)
            for which in ("forward", "backward"):
                name = f"{family.name} {shape} {which}"
                if not re.search(options.only, name):
                    continue
                sides = {"own": calls(own, x, which)}
                if peer:
                    sides["fla"] = calls(peer, x, which)
                times = {side: [] for side in sides}
                for _ in range(options.rounds):
                    for side, call in sides.items():
                        times[side].append(timed(call))
                host = host_seconds(sides["own"])
                median = {side: statistics.median(values) for side, values in times.items()}
                ratio = f"{median['fla'] / median['own']:6.2f}" if peer else ""
                theirs = f"{1e3 * median['fla']:8.3f}" if peer else ""
                print(f"{name:48} {1e3 * median['own']:8.3f} {1e3 * min(times['own']):6.3f}-"
                      f"{1e3 * max(times['own']):6.3f} {1e6 * host:5.0f}us {theirs:>8} {ratio:>6}", flush=True)
                rows.append({"row": name, "seconds": times, "host": host})
                del sides
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"device": torch.cuda.get_device_name(0), "torch": torch.__version__, "rows": rows}, file)
    if failed:
        print("beyond the bound: " + ", ".join(failed))
        sys.exit(1)


main()
