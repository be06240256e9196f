// One token through a whole model, in one launch: the stages of include/decoding/step.h one after the other,
// each on all blocks. A block waits for the numbers that it needs, not for the others' stages; one of its
// warps meanwhile fetches the weights of the stages that follow. All blocks must run at the same time, unless
// each launch has one stage.
//
// Compiled with ELEMENT (f32, bf16 or f16), the type of weights and of rows of keys and values. Everything else
// is float32.

#include "decoding/attend.cuh"
#include "decoding/recur.cuh"

using Element = ELEMENT;

// The token's row of a table, a few columns for each block.
DEVICE void gather(const DecodingStage &stage, int token, u32 tag) {
  const OwnRows own(stage);
  const auto *row = (const Stored<Element> *)stage.table + (i64)token * stage.columns;
  for (int i = threadIdx.x; i < own.count; i += decoding_workers) {
    const int column = own.first + i;
    publish(stage.output + column, Element::widen(row[column]) * stage.scale, tag);
  }
}

extern "C" __global__ void __launch_bounds__(decoding_threads, 1)
    decoding_step(const __grid_constant__ DecodingStepParameters p) {
  const DecodingLayout layout = decoding_layout(p.widest, p.most_units);
  const WeightRing ring = {shared_address(shared + layout.barriers)};
  DecodingStage *stages = (DecodingStage *)(shared + layout.stages);
  if (threadIdx.x == 0) {
    ring.open(1);
    show_barriers();
  }
  __syncthreads();
  if (threadIdx.x >= decoding_workers) {
    fetch_weights<Stored<Element>>(p, ring, shared_address(shared), stages + 2);
    return;
  }
  const Workplace place = {shared_address(shared),
                           shared_address(shared + layout.numbers),
                           ring,
                           (float *)(shared + layout.numbers),
                           (float *)(shared + layout.shares),
                           (float *)(shared + layout.squares)};
  // A stage is on its way to shared memory while the one before runs.
  constexpr int stage_chunks = sizeof(DecodingStage) / chunk_bytes;
  static_assert(stage_chunks <= decoding_workers, "a thread copies one chunk of a stage");
  const auto start_stage = [&](int number) {
    if (threadIdx.x >= stage_chunks || number >= p.last) return;
    const u32 place = threadIdx.x * chunk_bytes;
    copy_chunk(shared_address(&stages[number % 2]) + place, (const u8 *)&p.stages[number] + place, true);
    close_copies();
  };
  int turn = 0;
  start_stage(p.first);
  wait_for_copies<0>();
  meet();
  for (int number = p.first; number < p.last; ++number) {
    const DecodingStage &stage = stages[number % 2];
    start_stage(number + 1);
    switch (stage.kind) {
      case decoding_gather: gather(stage, p.token, p.tag); break;
      case decoding_product: turn = run_product<Element>(stage, place, turn, p.logits, p.tag); break;
      case decoding_recur: run_recurrence<Element>(stage, place, p.position, p.tag); break;
      case decoding_attend:
        if (stage.key_dimension == 64) {
          attend<Element, 64>(stage, place, p.position, p.tag);
        } else {
          attend<Element, 128>(stage, place, p.position, p.tag);
        }
        break;
      case decoding_merge: merge_parts(stage, p.position, p.tag); break;
    }
    wait_for_copies<0>();
    meet();
  }
}
