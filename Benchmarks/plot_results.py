#!/usr/bin/env python3
"""Draws Benchmarks/results/speed.svg, the picture in README.md, from the tables beside it.

    python3 Benchmarks/plot_results.py

Every bar is a ratio that a benchmark command printed, with its spread where the table has one. Needs Python 3.9,
nothing else.
"""

import html
import re
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass
class Bar:
    label: str
    ratio: float
    low: float
    high: float


@dataclass
class Panel:
    title: str
    peer: str
    bars: list


def measured(file, case, label):
    """A row of exact_cpu.py or gpu.py: `case  peer own unit ratio (low-high) …`; the last one if it was repeated."""
    pattern = re.compile(re.escape(case) + r"\s+[\d.]+\s+[\d.]+ \S+\s+([\d.]+) \(([\d.]+)-([\d.]+)\)")
    rows = [pattern.match(line) for line in (RESULTS / file).read_text().splitlines()]
    ratio, low, high = map(float, [row for row in rows if row][-1].groups())
    return Bar(label, ratio, low, high)


def linear(file, case, label):
    """A row of linear_gpu.py --fla: `case  own low-high host fla ratio`; the first one, which has a peer."""
    pattern = re.compile(re.escape(case) + r"\s+[\d.]+\s+[\d.]+-\s*[\d.]+\s+\d+us\s+[\d.]+\s+([\d.]+)$")
    ratio = next(float(row[1]) for line in (RESULTS / file).read_text().splitlines() if (row := pattern.match(line)))
    return Bar(label, ratio, ratio, ratio)


def training(file):
    text = (RESULTS / file).read_text()
    ratio, low, high = re.search(r"PyTorch: ([\d.]+), median of \d+ rounds \(([\d.]+) to ([\d.]+)\)", text).groups()
    return Bar("training step, float32", float(ratio), float(low), float(high))


def panels():
    gpu, cpu = "nvidia-h200-gpu.txt", "amd-epyc-zen4-exact_cpu.txt"
    exact_gpu = [
        measured(gpu, f"{step} bfloat16 16384 x {size}{mask}", f"{step}, d = {size}{mask.replace(' ', ', ')}")
        for step in ("forward", "backward")
        for size in (64, 128)
        for mask in ("", " causal")
    ]
    exact_cpu = [
        measured(cpu, f"{step} {dtype} 4096 x {size}", f"{step}, d = {size}, {dtype}")
        for step in ("forward", "backward")
        for dtype in ("float32", "bfloat16")
        for size in (64, 128)
    ]
    linear_gpu = [
        linear("nvidia-h200-linear_gpu.txt", f"{rule} 8 x 2048 {step}", f"{rule}, {step}")
        for rule in ("linear attention", "retention", "simple GLA", "DeltaNet", "Gated DeltaNet")
        for step in ("forward", "backward")
    ]
    return [
        Panel(
            "Exact attention, H200, bfloat16, 16,384 tokens",
            "the faster of PyTorch's flash and cuDNN kernels", exact_gpu),
        Panel(
            "Linear attention, H200, bfloat16, 8 × 2,048 tokens", "flash-linear-attention", linear_gpu),
        Panel("Exact attention, CPU, 4,096 tokens", "PyTorch's flash kernel", exact_cpu),
        Panel("The example model, CPU", "PyTorch", [training("amd-epyc-zen4-train_tiny_hybrid.txt")]),
    ]


STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.quiet { fill: #59636e }
.bar { fill: #0072b2 }
.behind { fill: #d55e00 }
.spread { stroke: #1f2328 }
.one { stroke: #59636e; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .bar { fill: #4da6e8 }
  .behind { fill: #ff8a3d }
  .spread { stroke: #f0f6fc }
  .one { stroke: #9198a1 }
}
"""

ROW, BAR, HEAD, GAP = 19, 11, 46, 22
LABELS, VALUES, WIDTH, LONGEST = 184, 34, 440, 6.0


def text(x, y, content, style="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{html.escape(content)}</text>'


def draw(panel, left, top):
    start, scale = left + LABELS, (WIDTH - LABELS - VALUES) / LONGEST
    lines = [text(left, top + 14, panel.title, "title"), text(left, top + 31, f"speed relative to {panel.peer}", "quiet")]
    for number, bar in enumerate(panel.bars):
        y = top + HEAD + number * ROW
        middle = y + BAR / 2
        style = "bar" if bar.ratio >= 1 else "bar behind"
        lines += [
            text(start - 8, y + BAR - 1, bar.label, anchor="end"),
            f'<rect x="{start}" y="{y}" width="{bar.ratio * scale:.1f}" height="{BAR}" class="{style}"/>',
            text(start + max(bar.ratio, bar.high) * scale + 6, y + BAR - 1, f"{bar.ratio:.2f}"),
        ]
        if bar.low < bar.high:
            lines.append(
                f'<path d="M{start + bar.low * scale:.1f} {middle}H{start + bar.high * scale:.1f}" class="spread"/>')
    one, bottom = start + scale, top + HEAD + len(panel.bars) * ROW
    lines.append(f'<path d="M{one:.1f} {top + HEAD - 5}V{bottom - 2}" class="one"/>')
    return lines, bottom


def main():
    lines, bottoms = [], [8, 8]
    for number, panel in enumerate(panels()):
        column = number % 2
        drawn, bottom = draw(panel, 8 + column * WIDTH, bottoms[column])
        lines += drawn
        bottoms[column] = bottom + GAP
    width, height = 2 * WIDTH + 8, max(bottoms)
    picture = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        "<title>Speed relative to each peer; the dashed line is equal speed</title>",
        f"<style>{STYLE}</style>", *lines, "</svg>"]
    (RESULTS / "speed.svg").write_text("\n".join(picture) + "\n")


if __name__ == "__main__":
    main()
