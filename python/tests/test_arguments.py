"""Invalid arguments: the right exception, with the argument's name."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import pytest
import torch

import swift_attention
from swift_attention import (
    attention, explain, fla, flash_cosine_sim_attention, l2norm_tensors,
    scaled_dot_product_attention)


def new(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


Q = new(2, 4, 5, 8)


def mistakes():
    sdpa, cosine = scaled_dot_product_attention, flash_cosine_sim_attention
    yield ValueError, "dropout_p", lambda: sdpa(Q, Q, Q, dropout_p=0.1)
    yield ValueError, "is_causal", lambda: sdpa(Q, Q, Q, new(5, 5), is_causal=True)
    yield ValueError, "heads", lambda: sdpa(Q, Q[:, :2], Q[:, :2])
    yield ValueError, "enable_gqa", lambda: sdpa(Q, Q[:, :3], Q[:, :3], enable_gqa=True)
    yield ValueError, r"key is \[2, 4, 5, 9\]; it must be \[2, 4, 5, 8\]", lambda: sdpa(
        Q, new(2, 4, 5, 9), Q)
    yield ValueError, r"value is \[2, 4, 6, 8\]; it must be \[2, 4, 5, 8\]", lambda: sdpa(
        Q, Q, new(2, 4, 6, 8))
    yield ValueError, "batch", lambda: sdpa(Q, new(3, 4, 5, 8), Q)
    yield ValueError, "query", lambda: sdpa(new(8), Q, Q)
    yield ValueError, "attn_mask", lambda: sdpa(Q, Q, Q, new(5, 6))
    yield ValueError, "attn_mask", lambda: sdpa(Q, Q, Q, new(1, 2, 4, 5, 5))
    yield TypeError, "attn_mask", lambda: sdpa(Q, Q, Q, new(5, 5, dtype=torch.int64))
    yield TypeError, "query", lambda: sdpa(None, Q, Q)
    yield TypeError, "key", lambda: sdpa(Q, [1.0], Q)
    yield TypeError, "complex64", lambda: sdpa(*[Q.to(torch.complex64)] * 3)
    for function in (sdpa, cosine, attention):
        yield (TypeError, "int32; it must be of float32, bfloat16, float16 or float64$",
               lambda f=function: f(*[Q.int()] * 3))
    yield ValueError, "key is float16", lambda: sdpa(Q, Q.half(), Q)
    yield ValueError, "v is float16", lambda: cosine(Q, Q, Q.half())
    yield ValueError, "meta", lambda: sdpa(Q, Q.to("meta"), Q)
    yield ValueError, "scale", lambda: sdpa(Q, Q, Q, scale=float("nan"))
    yield ValueError, "groups", lambda: cosine(Q, Q, Q, groups=3)
    yield ValueError, "k is", lambda: cosine(Q[:, 0], Q, Q)
    yield ValueError, r"v is \[2, 4, 6, 8\]; it must be \[2, 4, 5, 8\]", lambda: cosine(
        Q, Q, new(2, 4, 6, 8))
    yield ValueError, "^mask is", lambda: cosine(Q, Q, Q, new(2, 5))
    yield ValueError, "^key_mask is", lambda: attention(Q, Q, Q, key_mask=new(2, 5))
    yield ValueError, "attn_bias", lambda: cosine(Q, Q, Q, attn_bias=new(5, 5))
    yield TypeError, "attn_bias is of bool", lambda: cosine(
        Q, Q, Q, attn_bias=new(4, 5, 5, dtype=torch.bool))
    yield TypeError, "bias is of int64", lambda: attention(
        Q, Q, Q, bias=new(1, 1, 4, 4, dtype=torch.int64))
    yield ValueError, "bias", lambda: cosine(Q, Q, Q, attn_bias=new(3, 5, 5))
    yield ValueError, "tensors", lambda: l2norm_tensors()
    yield ValueError, "groups", lambda: l2norm_tensors(Q, groups=3)
    yield ValueError, "alignment", lambda: attention(Q, Q, Q, alignment="left")
    yield ValueError, "window", lambda: attention(Q, Q, Q, window=(-2, None))
    yield ValueError, "kernel", lambda: attention(Q, Q, Q, kernel="cpu.nothing")
    yield ValueError, "cuda.flash", lambda: attention(Q, Q, Q, kernel="cuda.flash")
    yield ValueError, "softcap", lambda: attention(Q, Q, Q, softcap=-1.0)
    yield ValueError, "sinks", lambda: attention(Q, Q, Q, sinks=new(3))
    yield ValueError, "^logit_decay is", lambda: attention(Q, Q, Q, logit_decay=new(2, 4, 6))
    yield ValueError, "^cumulative_lengths is", lambda: attention(
        Q[:1], Q[:1], Q[:1], cumulative_lengths=torch.tensor([0, 3, 2], dtype=torch.int32))
    yield ValueError, "cumulative_lengths", lambda: attention(
        Q[:1], Q[:1], Q[:1], cumulative_lengths=torch.tensor([0, 2 ** 32 + 4]))
    yield ValueError, "call", lambda: explain(torch.relu, Q)


@pytest.mark.parametrize("index", range(len(list(mistakes()))))
def test_mistakes(index: int) -> None:
    kind, text, call = list(mistakes())[index]
    for _ in range(2):
        with pytest.raises(kind, match=text):
            call()


def run(program: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True,
        text=True)


def test_missing_library() -> None:
    result = run("import swift_attention", SWIFT_ATTENTION_LIBRARY="/nowhere/lib.so")
    assert "ImportError" in result.stderr and "/nowhere/lib.so" in result.stderr


def test_something_else_in_its_place() -> None:
    result = run("import swift_attention", SWIFT_ATTENTION_LIBRARY=sys.executable)
    assert "ImportError" in result.stderr and "cannot load" in result.stderr


def test_import_is_quick() -> None:
    """It takes less than 100 ms of CPU time beyond PyTorch's own import."""
    program = (
        "import time, torch, torch.utils._python_dispatch; begin = time.process_time();"
        "import swift_attention; print(time.process_time() - begin)")
    assert min(float(run(program).stdout) for _ in range(3)) < 0.1


def test_versions_agree() -> None:
    metadata = pytest.importorskip("importlib.metadata")
    try:
        installed = metadata.version("swift-attention")
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed, but on the path")
    assert installed == swift_attention.__version__


SCALED = {
    "scaled_dot_product_attention": scaled_dot_product_attention,
    "flash_cosine_sim_attention": flash_cosine_sim_attention,
    "fused_chunk_linear_attn": lambda q, k, v, scale: fla.fused_chunk_linear_attn(
        q, k, v, scale=scale, normalize=False)[0],
}


@pytest.mark.parametrize("name", SCALED)
def test_scale_in_a_tensor(name: str, device: torch.device) -> None:
    """Its value at the call counts, it is not kept, and it cannot have a gradient."""
    function = SCALED[name]
    q, k, v = (torch.randn(1, 2, 5, 8, device=device) for _ in range(3))
    scale = torch.tensor(0.5, device=device)
    for value in (0.5, 2.0):
        scale.fill_(value)
        for _ in range(2):
            output = function(q, k, v, scale=scale)
            assert torch.equal(output, function(q, k, v, scale=value)), value
    kept = weakref.ref(scale)
    del scale
    gc.collect()
    assert kept() is None
    with pytest.raises(ValueError, match="scale"):
        function(q, k, v, scale=torch.nn.Parameter(torch.tensor(0.5)))
    with pytest.raises(ValueError, match="scale"):
        function(q, k, v, scale=torch.ones(2))
