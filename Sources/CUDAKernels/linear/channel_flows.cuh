#pragma once

#include "linear/channels.cuh"

// The gradients of gates of channels: the flow through each token, which is F, the flow ⟨S, dS⟩ of the channel through
// the chunk's beginning, and what the chunk's tokens before it add.

// F of a thread's channels in the kernels of gradients.
template <typename Parameters>
struct Crossings {
  const Parameters &p;
  const Place &at;
  const OwnChannels &own;

  // Through the beginning of the chunk of this index.
  __device__ float2 before(int chunk) const {
    const i64 place = place_of(at.sequence.chunk + chunk);
#if UPDATE == 1 && !LOW_RANK
    return p.crossing[place] - p.erased_crossing[place];
#else
    return p.crossing[place];
#endif
  }
  // Through the end of the chunk, which is the beginning of the next one unless a sequence ends there.
  __device__ float2 behind(int chunk, bool is_last) const {
    if (!is_last || at.sequence.ended < 0) return before(chunk + 1);
    return p.final_crossing ? p.final_crossing[place_of(at.sequence.ended)] : float2{0, 0};
  }

 private:
  __device__ i64 place_of(int number) const {
    return ((i64)number * p.operands.value_heads + at.head) * row_pairs + own.column;
  }
};

// What a thread's tokens add to the flows of its channels.
//
// Every term has a rounding error in proportion to its size. F is known at both ends of a chunk: the deviation of the
// sum at the end is distributed over the tokens in proportion to the squares of their terms, the variances of these
// errors.
struct AddedFlows {
  float2 added = {}, squares = {};
  // Up to each of the thread's gates; squares as pairs of bf16.
  float2 earlier[part_tokens];
  u32 earlier_squares[part_tokens];

  __device__ void add(float2 term) {
    added = added + term;
    squares = squares + term * term;
  }
  // What is added from now on comes behind the gate of the thread's token `r`.
  __device__ void pass_gate(int r) {
    earlier[r] = added;
    earlier_squares[r] = bf16::pack(squares.x, squares.y);
  }

  // Stores the gradients of the thread's gates, of `count` tokens of a chunk; F is `before` the chunk and `behind` it.
  __device__ void store(const Rows &gradient, const Place &at, int chunk, int count, float2 before, float2 behind,
                        ChannelShares &shares, const OwnChannels &own) const {
    shares.totals[own.part][own.pair] = added;
    shares.squares[own.part][own.pair] = squares;
    __syncthreads();
    float2 flow = before, end = before, start_squares = {}, all_squares = {};
#pragma unroll
    for (int part = 0; part < parts; ++part) {
      const float2 total = shares.totals[part][own.pair], square = shares.squares[part][own.pair];
      if (part < own.part) {
        flow = flow + total;
        start_squares = start_squares + square;
      }
      end = end + total;
      all_squares = all_squares + square;
    }
    const float2 deviation = end - behind;
    const float2 slope = {all_squares.x > 0 ? deviation.x / all_squares.x : 0,
                          all_squares.y > 0 ? deviation.y / all_squares.y : 0};
#pragma unroll
    for (int r = 0; r < part_tokens; ++r) {
      const int token = own.first_token + r;
      if (token >= count) break;
      const float2 variance = start_squares + float2{bf16::widen((u16)earlier_squares[r]), bf16::widen((u16)(earlier_squares[r] >> 16))};
      const float2 number = flow + earlier[r] - variance * slope;
      const int row = at.sequence.first + chunk * decay_tokens + token;
      const i64 place = gradient.place(at.sequence.batch, row, at.head) / 2 + own.column;
      if (gradient.type == type_f32) {
        ((float2 *)gradient.base)[place] = number;
      } else {
        ((u32 *)gradient.base)[place] = gradient.type == type_bf16 ? bf16::pack(number.x, number.y)
                                                                   : f16::pack(number.x, number.y);
      }
    }
  }
};
