"""Linear attention of two builds of the tool on the CPU, turn by turn, and bfloat16 beside float32.

    linear_builds.py OLD NEW [--only NAME] [--rounds N] [--turn-seconds S]

For each recurrence at 1024 x 8 heads x 128, forward and backward: the medians of the old and of the new build in
float32, of the new one in bfloat16, old / new, and float32 / bfloat16. Needs what linear_cpu.py needs.
"""

import argparse
import os
import statistics
import tempfile

from linear_cpu import make_inputs
from linear_recurrences import RECURRENCES
from side_by_side import Tool, write_safetensors

import torch


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--turn-seconds", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    print(f"{'recurrence':28}{'pass':10}{'old ms':>9}{'new ms':>9}{'bf16 ms':>9}{'old/new':>9}{'f32/bf16':>10}")
    for recurrence in RECURRENCES:
        if options.only not in recurrence.name:
            continue
        for step in ("forward", "backward"):
            with tempfile.TemporaryDirectory() as folder:
                tools = []
                for tool, dtype in ((options.old, "float32"), (options.new, "float32"), (options.new, "bfloat16")):
                    torch.manual_seed(0)
                    case = dict(batch=1, length=1024, heads=8, dimension=128, dtype=dtype, **{"pass": step})
                    x = make_inputs(case, recurrence)
                    if step == "backward":
                        x = dict(x, output_gradient=torch.randn_like(x["values"]))
                    path = os.path.join(folder, f"{len(tools)}.safetensors")
                    write_safetensors(path, x)
                    tools.append(Tool(tool, ["linear", path, "--pass", step, *recurrence.flags],
                                      options.threads, options.turn_seconds))
                times = [[tool.turn()["seconds"] for tool in tools] for _ in range(options.rounds + 1)][1:]
                for tool in tools:
                    tool.close()
            old, new, half = (statistics.median(column) for column in zip(*times))
            gain = statistics.median(a / b for a, b, _ in times)
            pairs = statistics.median(b / c for _, b, c in times)
            print(f"{recurrence.name:28}{step:10}{old * 1e3:9.2f}{new * 1e3:9.2f}{half * 1e3:9.2f}{gain:9.3f}{pairs:10.2f}",
                  flush=True)


if __name__ == "__main__":
    main()
