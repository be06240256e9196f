#pragma once

#include "tile/shared_memory.h"
#include "tile/tma.cuh"

// A ring of pipeline stages in shared memory: some are filled, by Hopper's copying unit or by threads, while
// warps read others. Turn i uses stage i mod `Stages`.

template <int Stages>
struct Ring {
  // One barrier per stage that ends when it is full, then one per stage that ends when it is free.
  static constexpr int bytes = ring_bytes(Stages);

  u32 barriers;

  // One thread opens the ring. `readers` threads arrive to release a stage, `fillers` when they have filled
  // their part of it.
  __device__ void open(int readers, int fillers = 1) const {
#pragma unroll
    for (int stage = 0; stage < Stages; ++stage) {
      open_barrier(full(stage), fillers);
      open_barrier(free(stage), readers);
    }
  }

  // The filling thread waits until the stage is free, and announces its bytes. Returns the barrier that
  // copies report to.
  __device__ u32 claim(int turn, u32 bytes) const {
    wait_for_place(turn);
    arrive_expecting(full(turn % Stages), bytes);
    return full(turn % Stages);
  }

  // The same for threads that fill the stage themselves, and then signal it.
  __device__ void wait_for_place(int turn) const {
    wait_for_phase(free(turn % Stages), turn / Stages % 2 ^ 1);
  }
  __device__ void fill(int turn) const { arrive(full(turn % Stages)); }

  __device__ void wait(int turn) const { wait_for_phase(full(turn % Stages), turn / Stages % 2); }

  // A reader is done with the stage: what it loaded from there has at least arrived in registers. Arriving does
  // not wait for loads in flight.
  __device__ void release(int turn) const { arrive(free(turn % Stages)); }

 private:
  __device__ u32 full(int stage) const { return barriers + stage * barrier_bytes; }
  __device__ u32 free(int stage) const { return barriers + (Stages + stage) * barrier_bytes; }
};
