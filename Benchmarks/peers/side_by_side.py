"""Shared by the scripts of this folder: tensors in files, turns of both sides, medians and ratios."""

import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SAFETENSORS = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.bool: "BOOL",
               torch.int32: "I32"}
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


def take_turns(arguments, calls, options):
    """Seconds of the tool and of each of `calls` by its name, `options.rounds` of each in turn, and
    the tool's last answer."""
    tool = Tool(options.tool, arguments, options.threads, options.turn_seconds)
    own, theirs, answer = [], {name: [] for name in calls}, {}
    for _ in range(options.rounds):
        for name, call in calls.items():
            theirs[name].append(turn(call, options.turn_seconds))
        answer = tool.turn()
        own.append(answer["seconds"])
    tool.close()
    return own, theirs, answer


def own_output(operator, path, flags, options, folder):
    """What `attention run` computes of the tensors in `path`, in float32."""
    output = os.path.join(folder, "output.safetensors")
    subprocess.run([options.tool, "run", operator, path, "-o", output, *flags], check=True)
    return read_tensor(output, "output").float()


def check_agreement(case, own, theirs):
    """Ends the program where two outputs of a case deviate."""
    deviation = ((own - theirs.float()).norm() / theirs.float().norm()).item()
    if not deviation <= AGREEMENT[case["dtype"]]:
        sys.exit(f"{case}: outputs differ by {deviation}")


def measured_ceilings(options):
    return json.loads(subprocess.run(
        [options.tool, "devices", "--measure", "--json"], check=True, capture_output=True,
        text=True).stdout)


def header(options, ceilings):
    print(f"PyTorch {torch.__version__}, {options.threads} threads; ceilings: float32 "
          f"{ceilings['float32'] / 1e9:.0f} GFLOP/s, bfloat16 {(ceilings['bfloat16'] or 0) / 1e9:.0f}, "
          f"read {ceilings['read_bandwidth'] / 1e9:.1f} GB/s")
    print(f"{'case':44} {'torch':>6} {'own':>6} {'':8} {'ratio':>5} {'spread':13} {'ceil':>5}"
          f" {'extra':>10}")


def report(case, own, theirs, backend, work, ceiling, unit, kernel, extra):
    """Prints a row: medians, their ratio, its spread over the rounds, and the share of the ceiling.

    Without a peer `theirs` is None.
    """
    mine = statistics.median(own)
    row = dict(case, kernel=kernel, backend=backend, seconds=mine, rate=work / mine / 1e9, unit=unit,
               share=work / mine / ceiling, extra_bytes=extra)
    compared = f"{'':6} {row['rate']:6.1f} {unit:8} {'':5} {'':13}"
    if theirs:
        ratios, peer = sorted(x / y for x, y in zip(theirs, own)), statistics.median(theirs)
        row.update(peer_seconds=peer, peer_rate=work / peer / 1e9, ratio=peer / mine,
                   low=ratios[len(ratios) // 10], high=ratios[-1 - len(ratios) // 10])
        spread = f"({row['low']:.2f}-{row['high']:.2f})"
        compared = (f"{row['peer_rate']:6.1f} {row['rate']:6.1f} {unit:8} {row['ratio']:5.2f}"
                    f" {spread:13}")
    print(f"{case['name']:44} {compared} {100 * row['share']:4.0f} %"
          f"  {extra / 2 ** 20:8.1f} MiB  {kernel}{' / ' + backend if backend else ''}", flush=True)
    return row


def add_options(parser):
    parser.add_argument("--tool", default=".build/release/attention")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn-seconds", type=float, default=0.1)
    parser.add_argument("--quick", action="store_true", help="short cases only")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", help="write the rows to this file")


def write_rows(rows, options, ceilings):
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"torch": torch.__version__, "threads": options.threads, "ceilings": ceilings,
                       "rows": rows}, file, indent=1)
