#pragma once

#include "tile/shared_memory.h"
#include "tile/tma.cuh"

// Places in shared memory that are filled while warps read others, in turn: by the copying unit, for which one
// thread asks, or by threads themselves.
// Turn i uses place i mod `Stages`.

template <int Stages>
struct Ring {
  // For each place, a barrier that ends when it is full, then for each one that ends when it is free.
  static constexpr int bytes = ring_bytes(Stages);

  u32 barriers;

  // One thread opens the ring. `readers` arrive when they are done with a place, `fillers` when they have
  // done their part of filling it.
  __device__ void open(int readers, int fillers = 1) const {
#pragma unroll
    for (int stage = 0; stage < Stages; ++stage) {
      open_barrier(full(stage), fillers);
      open_barrier(free(stage), readers);
    }
  }

  // The filling thread waits until the place is free, and announces its bytes. Returns the barrier that
  // copies report to.
  __device__ u32 claim(int turn, u32 bytes) const {
    wait_for_place(turn);
    arrive_expecting(full(turn % Stages), bytes);
    return full(turn % Stages);
  }

  // The same for who fills by itself, and then says so.
  __device__ void wait_for_place(int turn) const {
    wait_for_phase(free(turn % Stages), turn / Stages % 2 ^ 1);
  }
  __device__ void fill(int turn) const { arrive(full(turn % Stages)); }

  __device__ void wait(int turn) const { wait_for_phase(full(turn % Stages), turn / Stages % 2); }

  // A reader needs the place no more: what it loaded from there has been used, or has at least arrived in
  // registers. Arriving does not wait for loads under way.
  __device__ void release(int turn) const { arrive(free(turn % Stages)); }

 private:
  __device__ u32 full(int stage) const { return barriers + stage * barrier_bytes; }
  __device__ u32 free(int stage) const { return barriers + (Stages + stage) * barrier_bytes; }
};
