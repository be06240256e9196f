#pragma once

#include "tile/base.cuh"
#include "tile/tensor_map.h"

// Hopper's tensor memory accelerator (TMA), for sm_90a: one thread requests a whole box of a tensor; TMA
// writes it to shared memory, swizzled, and reports its bytes to an mbarrier. Threads wait for that barrier,
// not for one another.

// A barrier is eight bytes of shared memory. A phase ends when `arrivals` threads have arrived and all bytes
// that they announced have been written; then the next begins.
DEVICE void open_barrier(u32 barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" : : "r"(barrier), "r"(arrivals) : "memory");
}

// Makes barriers that this thread has initialised visible to TMA.
DEVICE void show_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

DEVICE void arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" : : "r"(barrier) : "memory");
}

// Arrives, and announces bytes that TMA will write.
DEVICE void arrive_expecting(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" : : "r"(barrier), "r"(bytes) : "memory");
}

// Waits for the end of a phase of this parity: 0 for the first, 1 for the second, and so on alternately. The
// phase before the first counts as ended.
DEVICE void wait_for_phase(u32 barrier, u32 parity) {
  asm volatile(
      "{.reg .pred ended;"
      "AGAIN_%=: mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;"
      "@!ended bra AGAIN_%=;}"
      :
      : "r"(barrier), "r"(parity)
      : "memory");
}

// Starts copying the box at these coordinates, innermost first; elements outside the tensor become zero.
DEVICE void copy_box(u32 target, const TensorMap &map, u32 barrier, int column, int head, int row,
                     int batch) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4, %5}], [%6];"
      :
      : "r"(target), "l"(&map), "r"(column), "r"(head), "r"(row), "r"(batch), "r"(barrier)
      : "memory");
}

// Starts copying bytes that lie together, a multiple of 16 at addresses that are multiples of it.
DEVICE void copy_bytes(u32 target, const void *source, u32 bytes, u32 barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
      :
      : "r"(target), "l"(source), "r"(bytes), "r"(barrier)
      : "memory");
}

// Sets the number of registers per thread of a warpgroup, a multiple of eight: give_registers lowers it;
// take_registers raises it, and waits until other warpgroups have released enough.
template <int Count>
DEVICE void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" : : "n"(Count));
}
template <int Count>
DEVICE void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" : : "n"(Count));
}

// A named barrier of `threads` threads, which are whole warps. Number 0 is that of `__syncthreads`.
DEVICE void synchronize(int number, int threads) {
  asm volatile("bar.sync %0, %1;" : : "r"(number), "r"(threads) : "memory");
}

// Arrives at it without waiting.
DEVICE void pass(int number, int threads) {
  asm volatile("bar.arrive %0, %1;" : : "r"(number), "r"(threads) : "memory");
}
