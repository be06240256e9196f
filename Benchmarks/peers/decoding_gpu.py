"""Decoding on an NVIDIA GPU: milliseconds a token at batch 1, of one build or of two in turn.

    python3 Benchmarks/peers/decoding_gpu.py TOOL [OTHER] [--configuration FILE] [--rounds N]

A token's time is the difference of two runs of `attention generate`, of 64 and of 2,112 tokens, over the difference of
their tokens: starting, loading and the prompt are in both. The bytes are those of the weights in
bfloat16; their share of the bandwidth is beside that of a copy by PyTorch in the same run.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import time

FEW, MANY = 64, 2112
PROMPT = "import torch"


def generate(tool, folder, tokens, dtype):
    start = time.perf_counter()
    done = subprocess.run(
        [tool, "generate", folder, "--prompt", PROMPT, "--tokens", str(tokens), "--temperature", "0",
         "--device", "cuda", "--dtype", dtype], capture_output=True, timeout=120)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{tool}: {done.stderr.decode()}")
    return seconds, done.stdout


def copy_bandwidth():
    """Bytes read and written a second by a copy of 4 GB."""
    import torch
    a = torch.empty(1 << 30, dtype=torch.float32, device="cuda")
    b = torch.empty_like(a)
    for _ in range(3):
        b.copy_(a)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(20):
        b.copy_(a)
    end.record()
    torch.cuda.synchronize()
    return 20 * 2 * a.numel() * 4 / (start.elapsed_time(end) / 1e3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tools", nargs="+", metavar="TOOL")
    parser.add_argument("--configuration", default="Benchmarks/hybrid-304m.json5")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = f"runs/{pathlib.Path(options.configuration).stem}"
    if not os.path.exists(folder):
        subprocess.run([options.tools[0], "train", options.configuration, "--device", "cuda",
                        f"training.output_directory={folder}"], check=True, capture_output=True)
    weights = sum(path.stat().st_size for path in pathlib.Path(folder).glob("checkpoint-*/model.safetensors"))
    size = 2 if options.dtype == "bfloat16" else 4
    bandwidth = copy_bandwidth()
    print(f"weights {weights / 4e6:.1f} M numbers; a copy reads and writes {bandwidth / 1e12:.2f} TB/s")
    for tool in options.tools:
        generate(tool, folder, FEW, options.dtype)
    times = {tool: [] for tool in options.tools}
    texts = {}
    for _ in range(options.rounds):
        for tool in options.tools:
            few, _ = generate(tool, folder, FEW, options.dtype)
            many, texts[tool] = generate(tool, folder, MANY, options.dtype)
            times[tool].append((many - few) / (MANY - FEW))
    floor = weights / 4 * size / bandwidth
    for tool in options.tools:
        middle = statistics.median(times[tool])
        print(f"{tool}: {middle * 1e3:.3f} ms a token ({min(times[tool]) * 1e3:.3f} to "
              f"{max(times[tool]) * 1e3:.3f}), {floor / middle:.0%} of the copy's bandwidth")
    if len(options.tools) > 1:
        a, b = (times[tool] for tool in options.tools[:2])
        print(f"ratio {statistics.median(b) / statistics.median(a):.2f}; "
              f"the same text: {texts[options.tools[0]] == texts[options.tools[1]]}")


if __name__ == "__main__":
    main()
