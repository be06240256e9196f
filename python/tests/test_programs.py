"""Whole programs: a transformer that trains and generates, other processes, explanations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import peers
from support import error, threads
from swift_attention import (
    explain, flash_cosine_sim_attention, scaled_dot_product_attention)
from swift_attention.transformer import CosineSimCausalTransformer

SIZES = dict(num_tokens=61, dim=32, max_seq_len=24, depth=2, heads=2, dim_head=16)
VARIANTS = [{}, {"pre_norm": True}, {"non_cosine_sim_attn": True}, {"attn_scale": 4}]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_transformer_of_the_original(variant: dict, device: torch.device) -> None:
    pytest.importorskip("einops", reason="the original's transformer needs einops")
    original = peers.cosine("transformer").CosineSimCausalTransformer
    theirs = original(**SIZES, **variant).to(device)
    own = CosineSimCausalTransformer(**SIZES, **variant).to(device)
    own.load_state_dict(theirs.state_dict())
    tokens = torch.randint(0, 61, (2, 20), device=device)
    assert error(own(tokens), theirs(tokens)) < 1e-5
    assert error(own(tokens, return_loss=True), theirs(tokens, return_loss=True)) < 1e-5
    # The single most likely token at each step, beyond the longest sequence.
    assert torch.equal(
        own.generate(tokens, 9, filter_thres=0.99), theirs.generate(tokens, 9, filter_thres=0.98))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_generation_with_kept_keys(variant: dict, device: torch.device) -> None:
    model = CosineSimCausalTransformer(**SIZES, **variant).to(device).train()
    tokens = torch.randint(0, 61, (3, 5), device=device)
    drawn = model.generate(tokens, 25, filter_thres=0.99)
    assert model.training and drawn.shape == (3, 25)
    for count in range(25):
        seen = torch.cat([tokens, drawn[:, :count]], 1)[:, -24:]
        assert torch.equal(model(seen)[:, -1].argmax(-1), drawn[:, count]), count


class Block(nn.Module):
    """A layer of a small transformer with the given attention."""

    def __init__(self, dim: int, heads: int, attend) -> None:
        super().__init__()
        self.heads, self.attend = heads, attend
        self.norms = nn.ModuleList([nn.LayerNorm(dim), nn.LayerNorm(dim)])
        self.packed, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.wide, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.packed(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        x = x + self.out(self.attend(q, k, v, is_causal=True).transpose(1, 2).flatten(-2))
        return x + self.narrow(F.gelu(self.wide(self.norms[1](x))))


def losses(attend, device: torch.device, steps: int) -> Tensor:
    """The loss curve of a small model that learns to count with a period."""
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Embedding(32, 48), Block(48, 3, attend), Block(48, 3, attend), nn.Linear(48, 32))
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(4)
    curve = []
    for _ in range(steps):
        start = torch.randint(0, 32, (8, 1), generator=generator)
        stride = torch.randint(1, 5, (8, 1), generator=generator)
        tokens = ((start + stride * torch.arange(33)) % 32).to(device)
        logits = model(tokens[:, :-1])
        loss = F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(loss.detach())
    return torch.stack(curve).cpu()


def test_training_is_the_same(device: torch.device) -> None:
    with threads(1):
        own = losses(scaled_dot_product_attention, device, 200)
        theirs = losses(F.scaled_dot_product_attention, device, 200)
    assert own[-1] < 0.5 * own[0]
    # Rounding errors grow along a trajectory: equal at first, and close at the end.
    assert error(own[:20], theirs[:20]) < 1e-5
    assert error(own, theirs) < 1e-2


def test_explain(device: torch.device) -> None:
    q = torch.randn(1, 4, 40, 16, device=device)
    text = explain(q, q, q, is_causal=True)
    kind = "cpu." if device.type == "cpu" else "cuda."
    assert "1×40×4×16" in text and "causal top-left" in text and kind in text.splitlines()[0]
    assert "with gradients" not in text
    q.requires_grad_()
    assert "with gradients" in explain(q, q, q)
    text = explain(flash_cosine_sim_attention, q, q, q, groups=2)
    assert "cosine" in text
    # Several calls in one function, one verdict after the other.
    assert explain(lambda: (scaled_dot_product_attention(q, q, q),
                            flash_cosine_sim_attention(q, q, q))).count("attention of") == 2


class Attended(torch.utils.data.Dataset):
    """Rows that a data loader's process computes with attention."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(index)
        q = torch.randn(1, 2, 200, 16, generator=generator)
        return scaled_dot_product_attention(q, q, q)[0]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_loader_processes(method: str) -> None:
    """Processes forked from one that has used the library, and new ones."""
    data = Attended()
    expected = torch.stack([data[index] for index in range(4)])
    loader = torch.utils.data.DataLoader(
        data, batch_size=2, num_workers=2, multiprocessing_context=method, timeout=60)
    assert error(torch.cat(list(loader)), expected) < 1e-6
