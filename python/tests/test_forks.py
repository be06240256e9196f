"""Processes forked at any time from one that uses the library compute the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# A call has many small pieces of work, each of which allocates and frees memory, so threads contend
# for the library's locks. A child that hangs is ended by its alarm.
_PROGRAM = """
import os, signal, sys, threading
import torch
from swift_attention import attention

def tokens(heads):
    return torch.linspace(-1, 1, 8 * heads * 4).sin().reshape(1, 8, heads, 4)

def compute(x):
    return attention(x, x, x, kernel="cpu.tiled")

def child_computes():
    signal.alarm(30)
    results = [compute(crowded) for _ in range(40)]
    try:
        attention(crowded, crowded[..., :3], crowded)
    except ValueError as error:
        names = "keys" in str(error)
    os._exit(0 if names and all(torch.equal(x, expected) for x in results) else 1)

def fork(count):
    for _ in range(count):
        child = os.fork()
        if child == 0:
            child_computes()
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

def calls():
    while not is_done:
        compute(crowded)

crowded, statuses, is_done = tokens(512), [], False
torch.set_num_threads(8)
if sys.argv[1] == "loaded":
    # The parent never calls: the right result is a child's.
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, compute(crowded).numpy().tobytes())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        expected = torch.frombuffer(bytearray(stream.read()), dtype=torch.float32)
    expected = expected.reshape(crowded.shape)
    fork(100)
else:
    expected = compute(crowded)
    fork(60)
    callers = [threading.Thread(target=calls) for _ in range(2)]
    forkers = [threading.Thread(target=fork, args=(20,)) for _ in range(3)]
    for thread in (*callers, *forkers):
        thread.start()
    for thread in forkers:
        thread.join()
    is_done = True
    for thread in callers:
        thread.join()
    assert torch.equal(compute(crowded), expected)
print(sorted(set(statuses)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.parametrize("state", ["loaded", "called"])
def test_forked_children_compute(state: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM, state], capture_output=True, text=True,
        timeout=300)
    assert (run.returncode, run.stdout.strip()) == (0, "[0]"), run.stderr[-2000:]
