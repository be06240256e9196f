// Linear attention in chunks: the output and the final state, or the states before all chunks.
//
// One block processes the tokens of one sequence and head for COLUMNS columns of the values, with the state
// in shared memory. Macros: linear/chunk.cuh.

#include "linear/chunk.cuh"

constexpr LinearChunkLayout layout = linear_chunk_layout(UPDATE, KEYS, COLUMNS, false);

extern "C" __global__ void __launch_bounds__(block_threads, 2)
    linear_forward(const __grid_constant__ LinearForwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  float *state = (float *)shared;
  const Chunk chunk(state, layout);
  const Operands &o = p.operands;
  const Place at(o, chunk_tokens);
  const float *bonus = at.bonus(o);

  load_state(state, o.initial_state ? o.initial_state + at.state(o) : nullptr, o, at);
  wait_for_copies<0>();
  for (int first = 0; first < at.sequence.count; first += chunk_tokens) {
    __syncthreads();
    if (p.states) {
      store_state(state, p.states + at.chunk_state(o, first / chunk_tokens), o, at);
    }
    load_chunk(chunk, o, at, first);
    prefetch_chunk(o, at, first + chunk_tokens);
    __syncthreads();
    find_factors(chunk);
    __syncthreads();
    score_chunk(chunk, chunk.read_rows, bonus, o.key_dimension);
    __syncthreads();
    decay_writes(chunk, chunk.write_rows);
    if constexpr (UPDATE > 0) solve_written(chunk, chunk.reads(1), state);
    __syncthreads();
    if (p.output.base) {
      // O = (q e^G) h + Σ scores · written
      TokenProduct::multiply(
          chunk.shares, key_steps + write_count,
          [&](int n) {
            const int w = n - key_steps;
            return w < 0 ? found_step(chunk.reads(0), state, n)
                         : written_step(chunk.scores(0, w), chunk.written(w));
          },
          [&](int i, int c, float sum) {
            const int column = at.first_column + c;
            if (first + i >= at.sequence.count || column >= o.value_dimension) return;
            const int token = at.sequence.first + first + i;
            p.output.store(p.output.place(at.sequence.batch, token, at.head) + column, sum);
          });
    }
    // h = e^γ h + Σ (z e^(γ - G))^T u
    advance(state, chunk, chunk.write_rows, chunk.written_rows, write_count);
  }
  __syncthreads();
  if (p.final_state) store_state(state, p.final_state + at.state(o), o, at);
}
