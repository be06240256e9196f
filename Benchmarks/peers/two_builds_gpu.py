"""Exact attention of two builds of the tool on a GPU, turn by turn: how much faster or slower the second one is.

    two_builds_gpu.py OLD NEW [--turns N] [--seconds S]

Back-to-back calls of at least S seconds a turn, so that clocks settle. Prints the medians of both, their ratio and
the spread of the ratios of single turns.
"""

import argparse
import statistics
import tempfile

import torch

from side_by_side import DTYPES, Tool, write_safetensors

# Operator, pass, dtype, length, dimension, causal.
ROWS = [
    (operator, pulse, dtype, length, dimension, causal)
    for operator, dtype, length, dimension in [
        ("softmax", "bfloat16", 1024, 64), ("softmax", "bfloat16", 4096, 64),
        ("softmax", "bfloat16", 4096, 128), ("softmax", "bfloat16", 16384, 128),
        ("cosine", "bfloat16", 4096, 128), ("softmax", "float32", 4096, 64)]
    for causal in (False, True)
    for pulse in ("forward", "backward")
]
TOKENS, HEADS = 16384, 16


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.1)
    options = parser.parse_args()
    print(f"{'operator':9}{'pass':10}{'dtype':10}{'length':>7}{'dim':>5}  {'':7}"
          f"{'old ms':>9}{'new ms':>9}{'old/new':>9}  spread")
    for operator, pulse, dtype, length, dimension, causal in ROWS:
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
            shape = (max(1, TOKENS // length), length, HEADS, dimension)
            write_safetensors(file.name, {
                name: torch.randn(shape).to(DTYPES[dtype]) for name in ("queries", "keys", "values")})
            arguments = [operator, file.name, "--device", "cuda", "--pass", pulse]
            tools = [Tool(tool, arguments + ["--causal"] * causal, 1, options.seconds)
                     for tool in (options.old, options.new)]
            times = [[], []]
            for _ in range(options.turns + 1):
                for tool, own in zip(tools, times):
                    own.append(tool.turn()["seconds"])
            for tool in tools:
                tool.close()
            old, new = (own[1:] for own in times)
            ratios = sorted(a / b for a, b in zip(old, new))
            medians = [statistics.median(own) for own in (old, new)]
            print(f"{operator:9}{pulse:10}{dtype:10}{length:7}{dimension:5}  {'causal' if causal else '':7}"
                  f"{medians[0] * 1e3:9.4f}{medians[1] * 1e3:9.4f}{medians[0] / medians[1]:9.3f}"
                  f"  {ratios[0]:.3f} to {ratios[-1]:.3f}", flush=True)


if __name__ == "__main__":
    main()
