"""What each feature of exact attention costs on a GPU: calls with it and without, turn by turn.

    exact_features_gpu.py TOOL [--old TOOL] [--turns N] [--seconds S] [--only WORDS]

Back-to-back calls of at least S seconds a turn, so that clocks settle. Prints the medians without and with the
feature, their ratio (above 1: the feature is slower than the plain call) and the spread of the ratios of single
turns. Cosine similarity is compared with softmax. With --old, another build's time with the feature too.
"""

import argparse
import os
import statistics
import tempfile

import torch

from side_by_side import DTYPES, Tool, write_safetensors

BATCH, LENGTH, HEADS = 4, 4096, 16


def padding():
    """The last keys of each sequence are hidden, from none to 600."""
    return torch.arange(LENGTH) < torch.tensor([LENGTH, 4032, 3900, 3500])[:, None]


# Name, operator, tensors, flags, causal, passes.
BOTH = ("forward", "backward")
ROWS = [
    ("cosine", "cosine", {}, [], False, BOTH),
    ("cosine", "cosine", {}, [], True, BOTH),
    ("key mask", "softmax", {"key_mask": padding}, [], False, BOTH),
    ("key mask, every other", "softmax",
     {"key_mask": lambda: torch.arange(LENGTH).remainder(2).bool().expand(BATCH, LENGTH)}, [], False, BOTH),
    ("ALiBi", "softmax", {}, ["--alibi"], True, BOTH),
    ("ALiBi", "softmax", {}, ["--alibi"], False, BOTH),
    ("softcap", "softmax", {}, ["--softcap", "50"], True, BOTH),
    ("softcap, large scores", "softmax", {}, ["--softcap", "1.5"], True, BOTH),
    ("logit decay", "softmax",
     {"logit_decay": lambda: -0.1 * torch.rand(BATCH, LENGTH, HEADS)}, [], True, BOTH),
    ("sinks", "softmax", {"sinks": lambda: torch.randn(HEADS)}, [], True, BOTH),
    ("bias, one for all heads", "softmax",
     {"bias": lambda: torch.randn(1, 1, LENGTH, LENGTH).bfloat16()}, [], False, ("forward",)),
    ("bias per head", "softmax",
     {"bias": lambda: torch.randn(1, HEADS, LENGTH, LENGTH).bfloat16()}, [], False, ("forward",)),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool")
    parser.add_argument("--old")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    print(f"{'feature':25}{'dim':>4} {'':7}{'pass':9}{'plain ms':>9}{'with ms':>9}{'ratio':>7}  spread"
          + ("          old ms" if options.old else ""))
    torch.manual_seed(0)
    for dimension in options.dimensions:
        shape = (BATCH, LENGTH, HEADS, dimension)
        common = {name: torch.randn(shape).to(DTYPES[options.dtype]) for name in ("queries", "keys", "values")}
        with tempfile.TemporaryDirectory() as folder:
            plain = os.path.join(folder, "plain.safetensors")
            write_safetensors(plain, common)
            for name, operator, tensors, flags, causal, passes in ROWS:
                if options.only not in name:
                    continue
                file = os.path.join(folder, "with.safetensors")
                write_safetensors(file, common | {key: make() for key, make in tensors.items()})
                for pulse in passes:
                    report(options, name, dimension, causal, pulse,
                           [(options.tool, "softmax", plain, []), (options.tool, operator, file, flags)]
                           + ([(options.old, operator, file, flags)] if options.old else []))


def report(options, name, dimension, causal, pulse, sides):
    tools = [Tool(tool, [operator, file, "--device", "cuda", "--pass", pulse, *flags] + ["--causal"] * causal,
                  1, options.seconds) for tool, operator, file, flags in sides]
    times = [[] for _ in tools]
    for _ in range(options.turns + 1):
        for tool, own in zip(tools, times):
            own.append(tool.turn()["seconds"])
    for tool in tools:
        tool.close()
    plain, own = times[0][1:], times[1][1:]
    ratios = sorted(b / a for a, b in zip(plain, own))
    medians = [statistics.median(side[1:]) * 1e3 for side in times]
    print(f"{name:25}{dimension:4} {'causal' if causal else '':7}{pulse:9}{medians[0]:9.3f}{medians[1]:9.3f}"
          f"{medians[1] / medians[0]:7.2f}  {ratios[0]:.2f} to {ratios[-1]:.2f}"
          + (f"{medians[2]:14.3f}" if options.old else ""), flush=True)


if __name__ == "__main__":
    main()
