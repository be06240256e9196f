"""Gated linear attention in chunks with PyTorch's operations; PyTorch has none of its own."""

import math

import torch
import torch.nn.functional as F

CHUNK = 64
BLOCK = 16


def gated_linear_attention(q, k, v, decay):
    """S_t = diag(exp(decay_t)) S_{t-1} + k_t v_t^T,  o_t = S_t^T q_t / sqrt(d), from S = 0.

    q, k, decay [batch, length, heads, d], v [batch, length, heads, e], float32; decay is a natural
    logarithm, at most 0. Returns [batch, length, heads, e]. Gradients are PyTorch's own.

    Exponents are only ever taken of differences that are at most 0: rows of a chunk are cut into
    blocks of 16, earlier blocks are reached over the first row of the query's block, and pairs within
    a block are taken one by one.
    """
    batch, length, heads, d = q.shape
    padding = -length % CHUNK
    chunks = (length + padding) // CHUNK

    def chunked(x):  # [batch, heads, chunks, CHUNK, ...]
        x = F.pad(x, (0, 0, 0, 0, 0, padding))
        return x.reshape(batch, chunks, CHUNK, heads, -1).permute(0, 3, 1, 2, 4)

    q, k, v, decay = (chunked(x) for x in (q * d**-0.5, k, v, decay))
    total = decay.cumsum(3)
    end = total[:, :, :, -1:]

    # What a row sees of its own chunk.
    causal = torch.ones(BLOCK, BLOCK, dtype=torch.bool).tril().unsqueeze(-1)
    inside = []
    for start in range(0, CHUNK, BLOCK):
        stop = start + BLOCK
        rows, query, key = total[:, :, :, start:stop], q[:, :, :, start:stop], k[:, :, :, start:stop]
        scores = []
        if start:
            first = rows[:, :, :, :1]
            earlier = k[:, :, :, :start] * (first - total[:, :, :, :start]).exp()
            scores.append((query * (rows - first).exp()) @ earlier.transpose(-1, -2))
        between = (rows.unsqueeze(4) - rows.unsqueeze(3)).masked_fill(~causal, -math.inf)
        scores.append((query.unsqueeze(4) * key.unsqueeze(3) * between.exp()).sum(-1))
        inside.append(torch.cat(scores, -1) @ v[:, :, :, :stop])

    # What it sees of the chunks before, through the state.
    writes = (k * (end - total).exp()).transpose(-1, -2) @ v
    keep = end.exp().transpose(-1, -2)
    state = torch.zeros_like(writes[:, :, 0])
    states = []
    for chunk in range(chunks):
        states.append(state)
        state = keep[:, :, chunk] * state + writes[:, :, chunk]
    output = torch.cat(inside, 3) + (q * total.exp()) @ torch.stack(states, 2)
    return output.permute(0, 2, 3, 1, 4).reshape(batch, length + padding, heads, -1)[:, :length]
