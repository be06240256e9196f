// Linear attention in chunks: the output and the final state, or the states before all chunks.
//
// One block goes through the tokens of one sequence and head, for COLUMNS columns of the values, with
// the state in shared memory. Macros: linear/chunk.cuh.

#include "linear/chunk.cuh"

struct Parameters {
  Operands operands;
  Rows output;          // [b, t, hv, v]; without a base no outputs are computed
  float *final_state;   // [n, hv, k, v], or null
  float *states;        // [chunks, hv, k, v]: before each chunk; or null
};

extern "C" __global__ void linear_forward(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  Room room{(float *)shared};
  float *state = room.take(state_size);
  const Chunk chunk(room);
  const Operands &o = p.operands;
  const Place at(o);
  const float *bonus = at.bonus(o);

  load_state(state, o.initial_state ? o.initial_state + at.state(o) : nullptr, o, at);
  for (int first = 0; first < at.sequence.count; first += chunk_tokens) {
    __syncthreads();
    if (p.states) {
      store_state(state, p.states + at.chunk_state(o, first / chunk_tokens), o, at);
    }
    load_chunk(chunk, o, at, first);
    __syncthreads();
    score_chunk(chunk, chunk.reads, bonus, o.key_dimension);
    __syncthreads();
    decay_writes(chunk, chunk.writes);
    if constexpr (UPDATE > 0) solve_written(chunk, chunk.reads[1], state);
    __syncthreads();
    if (p.output.base) {
      // O = (q e^G) h + Σ scores · written
      TokenTile tile;
      add_found(tile, chunk.reads[0], state);
#pragma unroll
      for (int w = 0; w < write_count; ++w) {
        add_written(tile, chunk.scores[0][w], chunk.written[w]);
      }
      tile.each([&](int i, int c, float sum) {
        const int column = at.first_column + c;
        if (first + i >= at.sequence.count || column >= o.value_dimension) return;
        const int token = at.sequence.first + first + i;
        p.output.store(p.output.place(at.sequence.batch, token, at.head) + column, sum);
      });
      __syncthreads();
    }
    // h = e^γ h + Σ (z e^(γ - G))^T u
    StateTile tile;
#pragma unroll
    for (int w = 0; w < write_count; ++w) add_outer(tile, chunk.writes[w], chunk.written[w]);
    tile.each([&](int d, int c, float sum) {
      float &number = state[d * column_pitch + c];
      number = chunk.decay(d)(number) + sum;
    });
  }
  __syncthreads();
  if (p.final_state) store_state(state, p.final_state + at.state(o), o, at);
}
