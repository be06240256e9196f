#!/usr/bin/env python3
"""Other packages' own tests, run against this package on a CPU (or a GPU), and a table of the outcomes.

    python Benchmarks/peers/originals.py SOURCES [--suites fla mamba …] [--output TABLE.txt]

SOURCES has a folder for each suite, a checkout of the package or its archive; only tests and the
plain functions that these compare with are read, from a copy:

    flash-linear-attention      tests/ (the package itself is installed: 0.6.0, with Triton and einops)
    flash-attention             tests/, flash_attn/
    mamba                       tests/, mamba_ssm/
    causal-conv1d               tests/, causal_conv1d/
    flash-cosine-sim-attention  tests/, flash_cosine_sim_attention/
    pytorch                     test/test_transformers.py

In these copies the device is the one of `--device`, and the functions under test are this
package's: by `install()` for flash-linear-attention and PyTorch, under the original's names for the
others. A test passes, fails, or does not apply: it is skipped by itself, needs a kernel that only
Triton or CUDA runs, or calls what this package refuses (each with its reason in the table).

Where a test function has more than `--cases` cases, so many of them run, evenly spaced over its grid
with the first and the last; a case that takes more than `--seconds` is stopped, a file after
`--minutes`. What did not run is counted as such.
"""

from __future__ import annotations

import argparse
import builtins
import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

_SETTINGS = "ORIGINALS_SETTINGS"
# Minutes that collecting a file's cases may take.
_COLLECTION = 2
# What `report()` says of calls that this package ran.
OWN = "swift_attention"


class Suite(NamedTuple):
    """Tests of one package, and what stands in for it."""

    folder: str
    # Patterns of test files, relative to the folder.
    tests: Sequence[str]
    # What of the original is copied beside the tests.
    packages: Sequence[str] = ()
    # Functions of this package in modules of the original, by "module:ours".
    functions: Dict[str, str] = {}
    # Modules that only hold compiled code.
    missing: Sequence[str] = ()
    # A framework for `install()`.
    framework: str = ""
    # Changes of the tests' text.
    changes: Sequence[Tuple[str, str]] = ()
    # Test files that are about another interface, and why: shown in the table, not run.
    inapplicable: Dict[str, str] = {}


_DEVICES = (
    (r"(['\"])cuda(:0)?\1", "DEVICE"),
    (r"\.cuda\(\)", ".to(DEVICE)"),
    (r"torch\.cuda\.get_device_capability\([^)]*\)", "(9, 0)"),
    (r"torch\.cuda\.get_device_properties\([^)]*\)\.total_memory", "2**35"),
    (r"torch\.cuda\.(manual_seed_all|manual_seed|synchronize|empty_cache)\([^)]*\)", "None"),
    (r"assert torch\.cuda\.is_available\(\).*", ""),
)

SUITES = {
    "fla": Suite(
        "flash-linear-attention",
        ["tests/ops/**/test_*.py", "tests/layers/test_*.py", "tests/models/test_*.py",
         "tests/modules/test_*.py"],
        framework="fla"),
    "flash-attention": Suite(
        "flash-attention", ["tests/test_flash_attn.py", "tests/test_rotary.py"], ["flash_attn"],
        {"flash_attn.flash_attn_interface": "swift_attention.flash_attn"},
        ["flash_attn_2_cuda"], changes=_DEVICES),
    "mamba": Suite(
        "mamba",
        ["tests/ops/test_selective_scan.py", "tests/ops/triton/test_selective_state_update.py",
         "tests/ops/triton/test_ssd.py", "tests/ops/triton/test_layernorm_gated.py"],
        ["mamba_ssm"],
        {"mamba_ssm.ops.selective_scan_interface": "swift_attention.mamba_ssm",
         "mamba_ssm.ops.triton.selective_state_update": "swift_attention.mamba_ssm",
         "mamba_ssm.ops.triton.ssd_combined": "swift_attention.mamba_ssm",
         "mamba_ssm.ops.triton.layernorm_gated":
             "swift_attention.installation._fla_modules"},
        ["causal_conv1d", "causal_conv1d.cpp_functions", "causal_conv1d.causal_conv1d_varlen",
         "causal_conv1d_cuda", "selective_scan_cuda"],
        changes=_DEVICES),
    "causal-conv1d": Suite(
        "causal-conv1d", ["tests/test_causal_conv1d.py"], ["causal_conv1d"],
        {"causal_conv1d.causal_conv1d_interface": "swift_attention.causal_conv1d"},
        ["causal_conv1d_cuda"], changes=_DEVICES),
    "cosine": Suite(
        "flash-cosine-sim-attention", ["tests/test.py"], ["flash_cosine_sim_attention"],
        {"flash_cosine_sim_attention.flash_cosine_sim_attention": "swift_attention.cosine"},
        ["flash_cosine_sim_attention_cuda_0_1_40", "flash_cosine_sim_attention_cuda"],
        changes=_DEVICES),
    "pytorch": Suite(
        "pytorch", ["test/test_transformers.py"], framework="torch",
        # The copy that was read runs on another company's accelerator: back to PyTorch's devices.
        changes=[
            (r"import torch_npu(\.testing)?\n", ""),
            (r"(?m)^ *@unittest\.skip\(\"Does not support now\"\)\n", ""),
            (r"torch\.npu\.is_available\(\)", "False"),
            (r"\.npu\(\)", ".to(DEVICE)"),
            (r"torch\.npu", "torch.cuda"), (r"backends\.npu", "backends.cuda"),
            (r"(['\"])npu\1", "DEVICE"), (r"privateuse1", "cpu"), (r"onlyPRIVATEUSE1", "onlyCUDA"),
            # The reference is PyTorch's.
            (r"(math_ref = )torch\.nn\.functional", r"\1ORIGINALS")]),
}


# --- The copies


_PRELUDE = """\
import os, sys, types
DEVICE = os.environ.get("ORIGINALS_DEVICE", "cpu")
"""

_MISSING = """\
class _Missing(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments, **options: (_ for _ in ()).throw(
            NotImplementedError(f"compiled code of the original: {self.__name__}.{name}"))
for _name in %r:
    sys.modules.setdefault(_name, _Missing(_name))
"""

_OURS = """
import importlib as _importlib
_ours = _importlib.import_module(%r)
for _name in list(globals()):
    _own = getattr(_ours, _name, None)
    # What the tests compare with stays the original's.
    if (not _name.startswith(("_", "plain_")) and isinstance(globals()[_name], types.FunctionType)
            and getattr(_own, "__module__", None) == _ours.__name__):
        globals()[_name] = _own
"""


def copy(suite: Suite, sources: Path, folder: Path) -> List[Path]:
    """The test files in `folder`, beside the original's plain functions with ours under its names."""
    prelude = _PRELUDE + (_MISSING % list(suite.missing) if suite.missing else "")
    for package in suite.packages:
        for file in (sources / package).rglob("*.py"):
            place = folder / file.relative_to(sources)
            place.parent.mkdir(parents=True, exist_ok=True)
            module = str(file.relative_to(sources).with_suffix("")).replace("/", ".")
            text = file.read_text()
            ours = suite.functions.get(module)
            # Imports of the future come first.
            if ours or "/" not in str(file.relative_to(sources).parent):
                text = re.sub(r"^from __future__ .*\n", "", text, flags=re.M)
                text = prelude + text + (_OURS % ours if ours else "")
            place.write_text(text)
        (folder / package / "__init__.py").touch()
    files = []
    for pattern in suite.tests:
        for file in sorted(sources.glob(pattern)):
            place = folder / file.relative_to(sources)
            place.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text()
            for before, after in suite.changes:
                text = re.sub(before, after, text)
            place.write_text(prelude + text if suite.changes else text)
            files.append(place)
    for name in ("tests/conftest.py", "tests/models/__init__.py"):
        if not suite.changes and (sources / name).exists():
            (folder / name).write_text((sources / name).read_text())
    (folder / "pytest.ini").write_text("[pytest]\n")
    return files


# --- The plugin of pytest, in the process of the tests


class Outcome(NamedTuple):
    """What became of a test."""

    test: str
    # passed, failed, inapplicable or unrun
    kind: str
    why: str = ""
    # How many tests this is about.
    count: int = 1


class _Stopped(Exception):
    pass


class Recorder:
    """Chooses the cases and writes what became of them."""

    def __init__(self, settings: dict) -> None:
        self._settings = settings
        self._end = float("inf")  # the time begins after the collection
        self._file = open(settings["record"], "a", buffering=1)

    def write(self, outcome: Outcome) -> None:
        self._file.write(json.dumps(outcome) + "\n")

    def pytest_collection_modifyitems(self, items: list) -> None:
        groups: Dict[str, list] = collections.OrderedDict()
        for item in items:
            groups.setdefault(re.sub(r"\[.*", "", _function(item)), []).append(item)
        kept = []
        for group in groups.values():
            kept += spaced(group, self._settings["cases"])
        if len(kept) < len(items):
            self.write(Outcome(
                "", "unrun", "not among the chosen cases", len(items) - len(kept)))
        items[:] = kept
        self._end = time.monotonic() + 60 * self._settings["minutes"]

    def pytest_runtest_setup(self, item) -> None:
        import swift_attention

        swift_attention.report().clear()

    def pytest_runtest_protocol(self, item, nextitem):
        if time.monotonic() > self._end:
            self.write(Outcome(item.nodeid, "unrun", "the file's time was over"))
            return True
        return None

    def pytest_runtest_makereport(self, item, call):
        if call.when == "teardown" or (call.when == "setup" and call.excinfo is None):
            return
        import swift_attention

        if call.excinfo is None:
            ran = swift_attention.report().entries
            if self._settings["framework"] and not any(x.ran == OWN for x in ran):
                why = "; ".join(sorted({f"{x.function}: {x.why}" for x in ran}))[:200]
                self.write(Outcome(
                    item.nodeid, "inapplicable",
                    "refused: " + why if why else "calls none of this package's functions"))
                return
            self.write(Outcome(item.nodeid, "passed"))
            return
        self.write(Outcome(item.nodeid, *verdict(call.excinfo)))

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            last = str(report.longrepr).strip().splitlines()[-1].removeprefix("E").strip()[:160]
            # The tests may be of another version than the package that is installed.
            is_other = re.search(r"(ImportError|ModuleNotFoundError).*'fla[.']", last)
            self.write(Outcome(
                report.nodeid, "inapplicable" if is_other else "failed",
                "another version of the original: " * bool(is_other) + re.sub(r" \(/.*", "", last)))
        elif report.skipped:
            self.write(Outcome(report.nodeid, "inapplicable", "skipped by itself"))

    def pytest_runtest_call(self, item):
        def stop(*_ignored):
            raise _Stopped

        signal.signal(signal.SIGALRM, stop)
        signal.alarm(int(self._settings["seconds"]))

    def pytest_runtest_teardown(self, item):
        signal.alarm(0)


def _function(item) -> str:
    """The test function of a case; PyTorch's cases are methods that carry the case in the name."""
    method = getattr(item, "originalname", None) or item.name
    if "test_transformers" in item.nodeid:
        return re.sub(r"_(\d|fused_kernel|type|contiguous|nb_heads|with_no_grad|use_|batch_first).*", "", method)
    return item.nodeid.split("[")[0]


def spaced(group: list, count: int) -> list:
    """At most `count` of a list, evenly spaced, with the first and the last."""
    if len(group) <= count:
        return group
    places = sorted({round(i * (len(group) - 1) / (count - 1)) for i in range(count)})
    return [group[place] for place in places]


def verdict(excinfo) -> Tuple[str, str]:
    """Why a test did not pass."""
    import pytest

    import swift_attention

    error, text = excinfo.value, str(excinfo.value)
    kind = type(error).__name__
    if isinstance(error, (pytest.skip.Exception,)) or kind == "SkipTest":
        return "inapplicable", "skipped by itself: " + (text.splitlines() or [""])[0][:120]
    if isinstance(error, _Stopped):
        return "unrun", "the case's time was over"
    chain = [error]
    while chain[-1].__cause__ is not None or chain[-1].__context__ is not None:
        chain.append(chain[-1].__cause__ or chain[-1].__context__)
    refusals = sorted({
        f"{x.function}: {x.why}" for x in swift_attention.report().entries
        if x.ran != OWN})
    for each in chain:
        message = str(each)
        if re.search(r"active drivers|Triton.*support|triton", f"{type(each).__name__} {message}") or (
                "triton" in _last_file(each)):
            if refusals:
                return "inapplicable", "refused: " + "; ".join(refusals)[:200]
            return "inapplicable", "runs only on Triton: " + _caller(excinfo)
        if "/torch/cuda/" in _last_file(each):
            return "inapplicable", "needs a GPU: " + _caller(excinfo)
        if isinstance(each, NotImplementedError) and "/fla/" in _last_file(each):
            return "inapplicable", "not implemented by the original: " + _caller(excinfo)
        if re.search(r"CUDA|cuda|NVIDIA", message):
            return "inapplicable", "needs a GPU: " + (message.splitlines() or [""])[0][:100]
        if isinstance(each, NotImplementedError) and "compiled code" in message:
            return "inapplicable", message
    if "the kernels have no dropout" in text:
        return "inapplicable", "refused: the kernels have no dropout"
    if "cache_hook" in text:
        return "inapplicable", "counts compilations of Triton"
    first = text.strip().splitlines()[0][:200] if text.strip() else ""
    where = excinfo.traceback[-1]
    return "failed", f"{kind}: {first} ({Path(str(where.path)).name}:{where.lineno + 1})"


def _last_file(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename if trace is not None else ""


def _caller(excinfo) -> str:
    """The function of the original that the test called."""
    for entry in excinfo.traceback:
        path = str(entry.path)
        if not re.search(r"/tests?/|/torch/|_pytest|pluggy|/unittest/", path):
            name = entry.frame.code.name
            if name not in ("wrapper", "forward", "apply", "routed", "attempt", "<lambda>", "__call__"):
                return name
    return "?"


def pytest_configure(config) -> None:
    """Puts this package behind the original before its tests are imported."""
    if _SETTINGS not in os.environ:
        return
    settings = json.loads(os.environ[_SETTINGS])
    import torch

    import swift_attention

    torch.set_num_threads(settings["threads"])
    if settings["framework"] == "torch":
        # The name that the changed tests call for their reference.
        builtins.ORIGINALS = types.SimpleNamespace(
            scaled_dot_product_attention=torch.nn.functional.scaled_dot_product_attention)
    if settings["framework"]:
        swift_attention.install(settings["framework"])
    if settings["framework"] == "fla" and settings["device"] == "cpu":
        import fla.utils

        for module in [m for n, m in list(sys.modules.items()) if n.startswith("fla.utils") and m]:
            if getattr(module, "device", None) == "cuda":
                module.device = "cpu"
    config.pluginmanager.register(Recorder(settings))


# --- The table


def run(suite: Suite, sources: Path, options: argparse.Namespace) -> Dict[str, List[Outcome]]:
    """The outcomes of each file."""
    results: Dict[str, List[Outcome]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in copy(suite, sources, folder):
            title = str(file.relative_to(folder))
            if options.files and not any(each in title for each in options.files):
                continue
            record = folder / "record.jsonl"
            record.unlink(missing_ok=True)
            settings = {
                "record": str(record), "framework": suite.framework, "device": options.device,
                "cases": options.cases, "seconds": options.seconds, "minutes": options.minutes,
                "threads": options.threads}
            paths = [str(folder), str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")]
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no",
                 "-p", "no:cacheprovider", "-p", Path(__file__).stem, str(file)],
                cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                env={**os.environ, _SETTINGS: json.dumps(settings),
                     "ORIGINALS_DEVICE": options.device, "PYTHONPATH": ":".join(filter(None, paths))})
            output = ""
            with contextlib.suppress(subprocess.TimeoutExpired):
                output, _ = process.communicate(timeout=60 * (options.minutes + _COLLECTION) + options.seconds)
            is_over = process.poll() is None
            if is_over:
                process.kill()
                process.communicate()
            outcomes = []
            if record.exists():
                outcomes = [Outcome(*json.loads(line)) for line in record.read_text().splitlines()]
            if is_over:
                outcomes.append(Outcome(title, "unrun", "a case did not end, nor those after it"))
            elif not outcomes and process.returncode == 5:
                outcomes.append(Outcome(title, "inapplicable", "has no tests of its own"))
            elif not outcomes or process.returncode not in (0, 1, 2, 5):
                lines = output.strip().splitlines()
                last = [x for x in lines if "INTERNALERROR> E" in x][-1:] or lines[-1:] or [""]
                outcomes.append(Outcome(title, "failed", f"the run ended with {process.returncode}: {last[0][:200]}"))
            results[title] = outcomes
            if options.verbose:
                for each in outcomes:
                    if each.kind == "failed":
                        print("   ", each.test.split("::")[-1], each.why, flush=True)
            print(row(title, outcomes), flush=True)
    return results


def row(title: str, outcomes: List[Outcome]) -> str:
    counts: Dict[str, int] = collections.Counter()
    for outcome in outcomes:
        counts[outcome.kind] += outcome.count
    return f"{title:52}" + "".join(
        f"{counts[kind]:>9}" for kind in ("passed", "failed", "inapplicable", "unrun"))


def table(results: Dict[str, Dict[str, List[Outcome]]]) -> str:
    """Counts for every file, and every reason with its count."""
    lines = [f"{'file':52}{'passed':>9}{'failed':>9}{'not appl.':>9}{'not run':>9}"]
    for suite, files in results.items():
        lines += ["", suite]
        for title, outcomes in files.items():
            lines.append(row(title, outcomes))
            reasons = collections.Counter(
                (x.kind, re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "#", x.why)) for x in outcomes
                if x.kind in ("failed", "inapplicable"))
            lines += [
                f"    {count} {'failed' if kind == 'failed' else 'not applicable'}: {why}"
                for (kind, why), count in reasons.most_common()]
        everything = [x for outcomes in files.values() for x in outcomes]
        lines.append(row("together", everything))
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--files", nargs="+", default=[], help="parts of the names of test files")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cases", type=int, default=8, help="of a test function (8)")
    parser.add_argument("--seconds", type=float, default=30, help="for a case (30)")
    parser.add_argument("--minutes", type=float, default=3, help="for a file (3)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (1)")
    parser.add_argument("--output", type=Path, help="where the table is written")
    parser.add_argument("--verbose", action="store_true", help="show each failure")
    options = parser.parse_args()
    results = {}
    for name in options.suites:
        sources = options.sources / SUITES[name].folder
        if not sources.is_dir():
            print(f"{name}: {sources} is not there", file=sys.stderr)
            continue
        results[name] = run(SUITES[name], sources, options)
        if options.output:
            options.output.write_text(table(results))
    everything = [x for files in results.values() for each in files.values() for x in each]
    print(row("together", everything))
    return 1 if any(x.kind == "failed" for x in everything) else 0


if __name__ == "__main__":
    sys.exit(main())
