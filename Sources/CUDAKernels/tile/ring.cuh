#pragma once

#include "tile/shared_memory.h"
#include "tile/tma.cuh"

// A ring of pipeline stages in shared memory: some are filled, by TMA or by threads, while warps read others.
// Turn i uses stage i mod `Stages`.

template <int Stages>
struct Ring {
  // For each stage a barrier whose phases end when it is full, then for each one for when it is free.
  static constexpr int bytes = ring_bytes(Stages);

  u32 barriers;

  // Called by one thread. A stage is free when `readers` threads have released it, full when `fillers`
  // threads have filled their parts of it.
  __device__ void open(int readers, int fillers = 1) const {
#pragma unroll
    for (int stage = 0; stage < Stages; ++stage) {
      open_barrier(full(stage), fillers);
      open_barrier(free(stage), readers);
    }
  }

  // Called by the thread that requests copies: waits until the stage is free and announces its bytes. Returns
  // the barrier that the copies report to.
  __device__ u32 claim(int turn, u32 bytes) const {
    wait_for_place(turn);
    arrive_expecting(full(turn % Stages), bytes);
    return full(turn % Stages);
  }

  // The same for threads that fill the stage themselves: they wait, write, and signal with `fill`.
  __device__ void wait_for_place(int turn) const {
    wait_for_phase(free(turn % Stages), turn / Stages % 2 ^ 1);
  }
  __device__ void fill(int turn) const { arrive(full(turn % Stages)); }

  __device__ void wait(int turn) const { wait_for_phase(full(turn % Stages), turn / Stages % 2); }

  // Called by a reader when its loads from the stage have arrived in registers: the arrival does not wait for
  // loads in flight.
  __device__ void release(int turn) const { arrive(free(turn % Stages)); }

 private:
  __device__ u32 full(int stage) const { return barriers + stage * barrier_bytes; }
  __device__ u32 free(int stage) const { return barriers + (Stages + stage) * barrier_bytes; }
};
