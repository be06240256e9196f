#pragma once

#include "linear/channels.cuh"

// The low-rank update S = D S₋ + b (aᵀ S₋)ᵀ + k vᵀ as a generalised delta rule of two rows per token,
//
//     row 2 t        reads −a, writes D⁻¹ b; no value, no query
//     row 2 t + 1    decays by D, reads nothing, writes k with the value v; its query is q
//
// With G the inclusive and E = G − g the exclusive sum of a channel's log-decays, and m the middle of a chunk's decay,
// the decays are parts of the rows, and D⁻¹ is not formed:
//
//     q̂ = q e^(G − m) ,  k̂ = k e^(m − G) ,  b̂ = b e^(m − G) ,  â = a e^(E − m) .
//
// Chunks have 64 rows, 32 tokens.

// The block's place among tokens instead of rows.
DEVICE Place place_of_tokens(const Operands &o) {
  Place at(o, chunk_tokens);
  at.sequence.first /= token_rows;
  at.sequence.count /= token_rows;
  return at;
}

// Places of a thread's pair of channels in rows of pairs [b, t, hv, k / 2], `r` tokens after the thread's first.
struct TokenPairs {
  i64 token;
  int column;
  // Distance between tokens.
  int step;

  __device__ TokenPairs(const Operands &o, const Place &at, int first_token, const OwnChannels &own)
      : token((i64)at.sequence.batch * (o.length / token_rows) + first_token),
        column(at.head * row_pairs + own.column),
        step(o.value_heads * row_pairs) {}
  __device__ i64 place(int r) const { return (token + r) * step + column; }
  // In [b, 2 t, hv, k / 2], the token's first row; the second is `step` further.
  __device__ i64 first_row(int r) const { return (token + r) * token_rows * step + column; }
};
