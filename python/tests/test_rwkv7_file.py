"""RWKV-7 by the names of its authors: a .pth file, and its logits by the definition."""

import os
import subprocess

import pytest
import torch
from torch.nn.functional import layer_norm, normalize

from test_published_models import BOUND, TOOL, error, logits, pytestmark, run  # noqa: F401

VOCABULARY, HIDDEN, HEADS, LAYERS, INNER = 48, 128, 2, 3, 160
RANKS = {"w": 8, "a": 6, "v": 4, "g": 12}


def weights():
    """Random weights by the names and in the shapes of the authors' files."""
    def normal(*shape, scale=1.0):
        return torch.randn(*shape) * scale / shape[0] ** 0.5

    def around(center, *shape):
        return center + torch.randn(*shape) * 0.2

    z = {"emb.weight": torch.randn(VOCABULARY, HIDDEN), "head.weight": normal(VOCABULARY, HIDDEN)}
    for name in ("ln_out", "blocks.0.ln0"):
        z |= {name + ".weight": around(1, HIDDEN), name + ".bias": around(0, HIDDEN)}
    for layer in range(LAYERS):
        block = f"blocks.{layer}."
        for name in ("ln1", "ln2", "att.ln_x"):
            z |= {block + name + ".weight": around(1, HIDDEN), block + name + ".bias": around(0, HIDDEN)}
        for name in "rwkvag":
            z[f"{block}att.x_{name}"] = torch.rand(1, 1, HIDDEN)
        for name, rank in RANKS.items():
            if name != "g":
                z[f"{block}att.{name}0"] = around(0, 1, 1, HIDDEN)
            z[f"{block}att.{name}1"] = normal(HIDDEN, rank)
            z[f"{block}att.{name}2"] = normal(rank, HIDDEN)
        z[block + "att.k_k"] = around(1, 1, 1, HIDDEN)
        z[block + "att.k_a"] = around(1, 1, 1, HIDDEN)
        z[block + "att.r_k"] = around(0, HEADS, HIDDEN // HEADS)
        for name in ("receptance", "key", "value", "output"):
            z[f"{block}att.{name}.weight"] = normal(HIDDEN, HIDDEN)
        z[block + "ffn.x_k"] = torch.rand(1, 1, HIDDEN)
        z[block + "ffn.key.weight"] = normal(INNER, HIDDEN)
        z[block + "ffn.value.weight"] = normal(HIDDEN, INNER)
    return z


def definition(z, tokens):
    """The logits of one sequence, token by token."""
    dimension = HIDDEN // HEADS

    def norm(name, x):
        return layer_norm(x, (HIDDEN,), z[name + ".weight"], z[name + ".bias"])

    x = norm("blocks.0.ln0", z["emb.weight"][tokens])
    first = None
    for layer in range(LAYERS):
        att, ffn = (f"blocks.{layer}.{part}." for part in ("att", "ffn"))
        y = norm(f"blocks.{layer}.ln1", x)
        shift = torch.cat([torch.zeros(1, HIDDEN), y[:-1]]) - y
        r, w, k, v, a, g = (y + shift * z[f"{att}x_{name}"][0, 0] for name in "rwkvag")

        def low_rank(name, x, f=lambda x: x):
            return f(x @ z[f"{att}{name}1"]) @ z[f"{att}{name}2"]

        decay = torch.exp(
            -0.606531 * torch.sigmoid(z[att + "w0"][0, 0] + low_rank("w", w, torch.tanh)))
        rate = torch.sigmoid(z[att + "a0"][0, 0] + low_rank("a", a))
        gate = low_rank("g", g, torch.sigmoid)
        r = r @ z[att + "receptance.weight"].T
        k = k @ z[att + "key.weight"].T
        values = v @ z[att + "value.weight"].T
        if layer == 0:
            first = values
        else:
            mix = torch.sigmoid(z[att + "v0"][0, 0] + low_rank("v", v))
            values = values + (first - values) * mix

        def heads(x):
            return x.view(-1, HEADS, dimension)

        removal = normalize(heads(k * z[att + "k_k"][0, 0]), dim=-1)
        k = heads(k * (1 + (rate - 1) * z[att + "k_a"][0, 0]))
        r, decay, rate, values = heads(r), heads(decay), heads(rate), heads(values)
        state = torch.zeros(HEADS, dimension, dimension)  # value by key
        outputs = []
        for t in range(len(tokens)):
            read = torch.einsum("hvk,hk->hv", state, -removal[t])
            state = (
                state * decay[t][:, None, :]
                + read[:, :, None] * (removal[t] * rate[t])[:, None, :]
                + values[t][:, :, None] * k[t][:, None, :]
            )
            outputs.append(torch.einsum("hvk,hk->hv", state, r[t]))
        o = torch.stack(outputs).view(-1, HIDDEN)
        o = torch.nn.functional.group_norm(
            o, HEADS, z[att + "ln_x.weight"], z[att + "ln_x.bias"], eps=64e-5)
        bonus = (r * k * z[att + "r_k"]).sum(-1, keepdim=True) * values
        x = x + ((o + bonus.view(-1, HIDDEN)) * gate) @ z[att + "output.weight"].T
        y = norm(f"blocks.{layer}.ln2", x)
        shift = torch.cat([torch.zeros(1, HIDDEN), y[:-1]]) - y
        inner = torch.relu((y + shift * z[ffn + "x_k"][0, 0]) @ z[ffn + "key.weight"].T) ** 2
        x = x + inner @ z[ffn + "value.weight"].T
    return norm("ln_out", x) @ z["head.weight"].T


@torch.no_grad()
@pytest.mark.parametrize("kind", ["dictionary", "parameters", "without the first layer's values"])
def test_file_becomes_a_folder(tmp_path, kind):
    z = weights()
    stored = dict(z)
    if kind == "parameters":
        stored = {name: torch.nn.Parameter(tensor) for name, tensor in z.items()}
    elif kind != "dictionary":
        for name in ("v0", "v1", "v2"):
            del stored["blocks.0.att." + name]
    torch.save(stored, tmp_path / "model.pth")
    printed = run("import", tmp_path / "model.pth", "--output", tmp_path / "folder")
    assert "family      rwkv7\nlayers      3\n" in printed
    tokens = torch.randint(VOCABULARY, (1, 25))
    expected = definition(z, tokens[0])
    assert expected.std() > 0.1
    assert error(logits(tmp_path / "folder", tokens)[0], expected) < BOUND


def refusal(*arguments):
    result = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    return result.stderr


class Other:
    def __reduce__(self):
        return os.system, ("true",)


def test_damaged_and_other_files_are_refused(tmp_path):
    path = tmp_path / "model.pth"
    z = weights()

    def message(stored, cut=None):
        torch.save(stored, path)
        if cut is not None:
            path.write_bytes(path.read_bytes()[:cut])
        return refusal("import", path)

    assert "it has no blocks" in message({"weight": torch.ones(2)})
    assert "calls posix system" in message({**z, "x": Other()})
    assert "blocks.1.att.w2" in message({n: t for n, t in z.items() if n != "blocks.1.att.w2"})
    assert "blocks.1.att.x_q" in message({**z, "blocks.1.att.x_q": torch.ones(1)})
    assert "must be contiguous" in message({**z, "head.weight": z["head.weight"].T.contiguous().T})
    assert "heads of 32" in message({**z, "blocks.0.att.r_k": torch.ones(4, 32)})
    assert "ln_out.bias" in message({**z, "ln_out.bias": torch.ones(HIDDEN + 1)})
    for cut in (0, 100, 5000, -1, -100):
        message(z, cut)
