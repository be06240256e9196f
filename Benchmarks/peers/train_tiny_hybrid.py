#!/usr/bin/env python3
"""Trains the model of a configuration of this package in PyTorch on the CPU, and compares its speed
with that of `attention train`.

    pip install torch==2.13.0
    swift build -c release
    python3 Benchmarks/peers/train_tiny_hybrid.py --tool .build/release/attention

Equal are: layers, parameters (with the tool their names and shapes are compared, and the loss that both
compute from one trained checkpoint), windows per step, window length, AdamW with decay of matrices only,
learning rates, clipping, number of threads, float32. Different: PyTorch's windows are not split where
files end, and are drawn with replacement; the work is the same except for attention across those ends.

Softmax and cosine layers use torch's scaled_dot_product_attention. PyTorch has no gated linear
attention; gated_linear.py computes it in chunks with PyTorch's operations. A fused kernel could be
faster, so the ratio measures PyTorch as one would use it, not the best possible code.

The rate of a step is its tokens divided by its time, including the batch, forward and backward passes,
clipping and the optimizer, but not validation and checkpoints. The median over the steps after the
warm-up and the 10th and 90th percentile are printed. With --tool both run in turn for several rounds,
and the ratio is the median of the rounds' ratios.
"""

import argparse
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F

import json5
from hybrid_model import LanguageModel

DEFAULT_CONFIGURATION = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "Examples", "tiny-hybrid.json5")

# What an absent key of the section `training` means.
TRAINING_DEFAULTS = {
    "steps": 1000, "batch_size": 8, "length": 256, "learning_rate": 3e-3,
    "minimum_learning_rate": 3e-4, "warmup_steps": 50, "weight_decay": 0.1, "beta1": 0.9,
    "beta2": 0.95, "epsilon": 1e-8, "clip_norm": 1.0, "seed": 0,
}

# Losses of one checkpoint on one text, both in float32, may differ by this share.
LOSS_TOLERANCE = 1e-4


def read_text(data, folder):
    """The bytes of all text files of the section `data`, which names their extensions, one behind the other."""
    endings = tuple("." + e for e in data["extensions"])
    text = bytearray()
    for path in data.get("paths", ["."]):
        path = os.path.join(folder, path)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                text += file.read()
        for parent, folders, names in os.walk(path):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for name in sorted(names):
                if name.endswith(endings) and not name.startswith("."):
                    with open(os.path.join(parent, name), "rb") as file:
                        text += file.read()
    return torch.frombuffer(text, dtype=torch.uint8).long()


class Run:
    """A model, its optimizer and its text."""

    def __init__(self, configuration, folder):
        settings = {**TRAINING_DEFAULTS, **configuration.get("training", {})}
        torch.manual_seed(settings["seed"])
        self.settings = settings
        self.text = read_text(configuration.get("data", {}), folder)
        if len(self.text) <= settings["length"]:
            raise SystemExit(f"{len(self.text)} bytes of text; more than a window are needed")
        self.model = LanguageModel(configuration["model"], settings["length"])
        parameters = list(self.model.parameters())
        matrices = [p for p in parameters if p.dim() >= 2]
        vectors = [p for p in parameters if p.dim() < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": settings["weight_decay"]},
             {"params": vectors, "weight_decay": 0.0}],
            betas=(settings["beta1"], settings["beta2"]), eps=settings["epsilon"], fused=True)
        self.step_count = 0

    def rate(self):
        s, step = self.settings, self.step_count
        if step < s["warmup_steps"]:
            return s["learning_rate"] * (step + 1) / s["warmup_steps"]
        progress = (step - s["warmup_steps"]) / max(1, s["steps"] - s["warmup_steps"])
        swing = (1 + math.cos(math.pi * min(1, progress))) / 2
        return s["minimum_learning_rate"] + (
            s["learning_rate"] - s["minimum_learning_rate"]) * swing

    def step(self):
        """One step; returns the loss in nats and the tokens a second."""
        s = self.settings
        began = time.perf_counter()
        starts = torch.randint(len(self.text) - s["length"], (s["batch_size"], 1))
        windows = self.text[starts + torch.arange(s["length"] + 1)]
        loss = self.model.loss(windows[:, :-1], windows[:, 1:])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), s["clip_norm"])
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self.step_count += 1
        value = loss.item()
        return value, s["batch_size"] * s["length"] / (time.perf_counter() - began)

    def measure(self, steps, warmup):
        """The rates of `steps` steps after `warmup` more, and the last loss."""
        results = [self.step() for _ in range(warmup + steps)]
        return [rate for _, rate in results[warmup:]], results[-1][0]


def read_safetensors(path):
    """Float32 tensors by name."""
    with open(path, "rb") as file:
        contents = file.read()
    size = struct.unpack("<Q", contents[:8])[0]
    header = json.loads(contents[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise SystemExit(f"{path}: {name} is {entry['dtype']}; it must be F32")
        start, end = (8 + size + place for place in entry["data_offsets"])
        numbers = torch.frombuffer(bytearray(contents[start:end]), dtype=torch.float32)
        tensors[name] = numbers.reshape(entry["shape"])
    return tensors


class Tool:
    """`attention train` on the same configuration."""

    def __init__(self, path, configuration_path, threads):
        self.path, self.configuration_path = os.path.abspath(path), configuration_path
        self.environment = {**os.environ, "ATTENTION_THREADS": str(threads)}

    def train(self, output, steps, *overrides):
        """Trains into the folder `output` and returns the lines of its metrics."""
        command = [
            self.path, "train", self.configuration_path, f"training.steps={steps}",
            f"training.output_directory={json.dumps(output)}", "training.log_interval=1",
            f"training.validation_interval={steps}", f"training.checkpoint_interval={steps}",
            "sample.tokens=0", *overrides]
        done = subprocess.run(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}\nexit code {done.returncode}")
        with open(os.path.join(output, "metrics.jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def measure(self, steps, warmup):
        with tempfile.TemporaryDirectory() as folder:
            lines = self.train(
                os.path.join(folder, "run"), warmup + steps, "training.validation_tokens=1")
        trained = [line for line in lines if "tokens_per_second" in line]
        rates = [line["tokens_per_second"] for line in trained]
        return rates[warmup:], trained[-1]["loss"]

    def check_agreement(self, model, length):
        """Trains a few steps, loads the result into `model`, and compares names, shapes and the loss
        on a text of one window that the tool held out."""
        steps = 5
        with open(os.path.abspath(__file__), "rb") as file:
            source = file.read()
        held_out = source[:length + 1]
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("long.txt", source[length + 1:]), ("short.txt", held_out)):
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(text)
            # Just so many bytes are to be held out that the short text fits, and nothing else does.
            fraction = (len(held_out) + 1) / len(source)
            output = os.path.join(folder, "run")
            lines = self.train(
                output, steps, f"data.paths={json.dumps([folder])}", 'data.extensions=["txt"]',
                f"data.validation_fraction={fraction}", f"training.validation_tokens={length}")
            trained = read_safetensors(
                os.path.join(output, f"checkpoint-{steps}", "model.safetensors"))
        own = model.state_dict()
        ours = {name: list(tensor.shape) for name, tensor in own.items()}
        theirs = {name: list(tensor.shape) for name, tensor in trained.items()}
        if ours != theirs:
            different = sorted(set(map(str, ours.items())) ^ set(map(str, theirs.items())))
            raise SystemExit("the parameters differ:\n  " + "\n  ".join(different))
        count = sum(tensor.numel() for tensor in trained.values())
        assert count == model.parameter_count()

        kept = {name: tensor.clone() for name, tensor in own.items()}
        model.load_state_dict(trained)
        window = torch.tensor(list(held_out))[None]
        with torch.no_grad():
            loss = model.loss(window[:, :-1], window[:, 1:]).item()
        model.load_state_dict(kept)
        expected = lines[-1]["validation_loss"]
        if not abs(loss - expected) <= LOSS_TOLERANCE * expected:
            raise SystemExit(f"one checkpoint, two losses: PyTorch {loss}, the tool {expected}")
        print(f"the same {len(trained)} tensors of {count:,} numbers in both; the loss of one "
              f"checkpoint on one text: PyTorch {loss:.6f}, attention {expected:.6f}")


def spread(rates):
    tenths = statistics.quantiles(rates, n=10)
    return f"{statistics.median(rates):>9,.0f}  ({tenths[0]:,.0f} to {tenths[-1]:,.0f})"


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "unknown processor"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("configuration", nargs="?", default=DEFAULT_CONFIGURATION)
    parser.add_argument("--tool", help="the built tool to run in turn with PyTorch")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=20, help="measured steps a round")
    parser.add_argument("--warmup", type=int, default=5, help="steps before them")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if min(arguments.threads, arguments.rounds) < 1 or arguments.steps < 2 or arguments.warmup < 0:
        parser.error("threads and rounds must be at least 1, steps 2, warmup 0")

    torch.set_num_threads(arguments.threads)
    path = os.path.abspath(arguments.configuration)
    run = Run(json5.load(path), os.path.dirname(path))
    settings = run.settings
    print(f"{processor()}, {arguments.threads} threads, PyTorch {torch.__version__}")
    print(f"{run.model.parameter_count():,} parameters, {settings['batch_size']} windows of "
          f"{settings['length']} bytes a step")

    peers = {"PyTorch": run}
    if arguments.tool:
        tool = Tool(arguments.tool, path, arguments.threads)
        tool.check_agreement(run.model, settings["length"])
        peers["attention"] = tool
    rates = {name: [] for name in peers}
    ratios = []
    for number in range(arguments.rounds):
        medians = {}
        for name, peer in peers.items():
            new, loss = peer.measure(arguments.steps, arguments.warmup)
            rates[name] += new
            medians[name] = statistics.median(new)
            print(f"round {number + 1}  {name:<10} {spread(new)} tokens/s, last loss {loss:.3f} nats")
            sys.stdout.flush()
        if arguments.tool:
            ratios.append(medians["attention"] / medians["PyTorch"])
    print()
    for name, all_rates in rates.items():
        print(f"{name:<10} {spread(all_rates)} tokens/s, median (10th to 90th percentile of "
              f"{len(all_rates)} steps)")
    if arguments.tool:
        print(f"attention / PyTorch: {statistics.median(ratios):.2f}, median of {len(ratios)} rounds "
              f"({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
