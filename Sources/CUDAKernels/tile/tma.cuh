#pragma once

#include "tile/base.cuh"
#include "tile/tensor_map.h"

// Hopper's copying unit, for sm_90a: one thread requests a whole box of a tensor, and the unit writes it to
// shared memory, swizzled, and reports the bytes to a barrier there. Threads that wait for the barrier need
// not wait for one another.

// A barrier is eight bytes of shared memory. Its phase ends when `arrivals` threads have arrived and all
// bytes that they announced have been written; then the next begins.
DEVICE void open_barrier(u32 barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" : : "r"(barrier), "r"(arrivals) : "memory");
}

// Barriers that this thread has opened come before the copying unit's use of them.
DEVICE void show_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

DEVICE void arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" : : "r"(barrier) : "memory");
}

// Arrives, and announces bytes that the copying unit will write.
DEVICE void arrive_expecting(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" : : "r"(barrier), "r"(bytes) : "memory");
}

// Waits for the end of a phase of this parity: 0 for the first, 1 for the second and so on. The phase before
// the first counts as ended.
DEVICE void wait_for_phase(u32 barrier, u32 parity) {
  asm volatile(
      "{.reg .pred ended;"
      "AGAIN_%=: mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;"
      "@!ended bra AGAIN_%=;}"
      :
      : "r"(barrier), "r"(parity)
      : "memory");
}

// Starts copying the box at these coordinates, innermost first; what is outside the tensor is zeros.
DEVICE void copy_box(u32 target, const TensorMap &map, u32 barrier, int column, int head, int row,
                     int batch) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4, %5}], [%6];"
      :
      : "r"(target), "l"(&map), "r"(column), "r"(head), "r"(row), "r"(batch), "r"(barrier)
      : "memory");
}

// The registers that each thread of a warpgroup has from now on: fewer, or more once others have given
// theirs back. A multiple of eight.
template <int Count>
DEVICE void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" : : "n"(Count));
}
template <int Count>
DEVICE void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" : : "n"(Count));
}

// `__syncthreads` of `threads` threads, which are whole warps. Number 0 is that of the block.
DEVICE void synchronize(int number, int threads) {
  asm volatile("bar.sync %0, %1;" : : "r"(number), "r"(threads) : "memory");
}

// Arrives there without waiting.
DEVICE void pass(int number, int threads) {
  asm volatile("bar.arrive %0, %1;" : : "r"(number), "r"(threads) : "memory");
}
