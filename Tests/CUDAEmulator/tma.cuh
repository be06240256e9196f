#pragma once

#include "tile/instructions.cuh"
#include "tile/tensor_map.h"

// The instructions of tile/tma.cuh for the emulator. A box is copied when a thread waits for its barrier;
// until then its target is NaN.

// A tensor map as the emulated driver encodes it.
struct EncodedMap {
  u64 base;
  u64 sizes[4];
  u64 strides[3];    // in bytes
  u32 box[4];
  u32 element_bytes;
  u32 unused[7];
};

// Eight bytes in shared memory.
struct Barrier {
  u16 arrivals;
  u16 phase;
  short pending;
  short announced;    // units of 16 bytes

  void finish() {
    if (pending != 0 || announced != 0) return;
    pending = (short)arrivals;
    phase ^= 1;
    machine::wake(machine::at_phase);
  }
};

DEVICE Barrier &barrier_at(u32 address) { return *(Barrier *)at_shared(address); }

DEVICE void open_barrier(u32 barrier, int arrivals) {
  barrier_at(barrier) = {(u16)arrivals, 0, (short)arrivals, 0};
}
DEVICE void show_barriers() {}

DEVICE void arrive(u32 barrier) {
  if (--barrier_at(barrier).pending < 0) machine::fail("more threads arrive at a barrier than it was opened for");
  barrier_at(barrier).finish();
}
DEVICE void arrive_expecting(u32 barrier, u32 bytes) {
  barrier_at(barrier).announced += (short)(bytes / chunk_bytes);
  arrive(barrier);
}

struct Box {
  u32 target;
  EncodedMap map;
  u32 barrier;
  int place[4];

  bool holds(const int (&within)[4]) const {
    for (int axis = 0; axis < 4; ++axis) {
      const i64 at = (i64)place[axis] + within[axis];
      if (at < 0 || at >= (i64)map.sizes[axis]) return false;
    }
    return true;
  }

  void copy() const {
    const u32 row_bytes = map.box[0] * map.element_bytes;
    u32 address = target;
    int within[4] = {};
    for (within[3] = 0; within[3] < (int)map.box[3]; ++within[3]) {
      for (within[2] = 0; within[2] < (int)map.box[2]; ++within[2]) {
        for (within[1] = 0; within[1] < (int)map.box[1]; ++within[1]) {
          for (u32 byte = 0; byte < row_bytes; byte += map.element_bytes) {
            within[0] = (int)(byte / map.element_bytes);
            u8 *number = at_shared((address + byte) ^ ((address + byte) >> 7 & 7) << 4);
            if (!holds(within)) {
              memset(number, 0, map.element_bytes);
              continue;
            }
            u64 source = map.base + (u64)(place[0] + within[0]) * map.element_bytes;
            for (int axis = 1; axis < 4; ++axis) {
              source += (u64)(place[axis] + within[axis]) * map.strides[axis - 1];
            }
            memcpy(number, (const void *)source, map.element_bytes);
          }
          address += row_bytes;
        }
      }
    }
    Barrier &arrived = barrier_at(barrier);
    arrived.announced -= (short)((address - target) / chunk_bytes);
    arrived.finish();
  }
};

constexpr int most_boxes = 64;
static Box boxes[most_boxes];
static int box_count;
static unsigned box_block;

DEVICE void copy_box(u32 target, const TensorMap &tensor, u32 barrier, int column, int head, int row,
                     int batch) {
  const EncodedMap &map = (const EncodedMap &)tensor;
  // What a block before has left behind is nobody's.
  if (box_block != machine::block_number) box_count = 0;
  box_block = machine::block_number;
  if (box_count == most_boxes) machine::fail("more boxes are on their way than the emulator keeps");
  boxes[box_count++] = {target, map, barrier, {column, head, row, batch}};
  memset(at_shared(target), 0xff,
         map.box[0] * map.box[1] * map.box[2] * map.box[3] * map.element_bytes);
  // The box is copied for threads that are already waiting.
  machine::wake(machine::at_phase);
}

// Bytes that lie together.
struct Bytes {
  u32 target;
  const void *source;
  u32 count;
  u32 barrier;
};

static Bytes pieces[most_boxes];
static int piece_count;
static unsigned piece_block;

DEVICE void copy_bytes(u32 target, const void *source, u32 count, u32 barrier) {
  if (piece_block != machine::block_number) piece_count = 0;
  piece_block = machine::block_number;
  if (piece_count == most_boxes) machine::fail("more copies are on their way than the emulator keeps");
  if (target % 16 != 0 || (u64)source % 16 != 0 || count % 16 != 0) machine::fail("a copy is not of whole chunks");
  pieces[piece_count++] = {target, source, count, barrier};
  memset(at_shared(target), 0xff, count);
  machine::wake(machine::at_phase);
}

// Carries out the copies that report to this barrier.
DEVICE void finish_pieces(u32 barrier) {
  for (int i = 0; i < piece_count && piece_block == machine::block_number;) {
    if (pieces[i].barrier != barrier) {
      ++i;
      continue;
    }
    const Bytes piece = pieces[i];
    pieces[i] = pieces[--piece_count];
    memcpy(at_shared(piece.target), piece.source, piece.count);
    Barrier &arrived = barrier_at(barrier);
    arrived.announced -= (short)(piece.count / chunk_bytes);
    arrived.finish();
  }
}

DEVICE void wait_for_phase(u32 barrier, u32 parity) {
  while (true) {
    finish_pieces(barrier);
    for (int i = 0; i < box_count && box_block == machine::block_number;) {
      if (boxes[i].barrier != barrier) {
        ++i;
        continue;
      }
      const Box box = boxes[i];
      for (int j = i + 1; j < box_count; ++j) boxes[j - 1] = boxes[j];
      --box_count;
      box.copy();
    }
    if (barrier_at(barrier).phase != parity) return;
    machine::wait_as(machine::at_phase);
  }
}

template <int Count>
DEVICE void give_registers() {}
template <int Count>
DEVICE void take_registers() {}

DEVICE void synchronize(int number, int threads) { machine::meet(number, threads, true); }
DEVICE void pass(int number, int threads) { machine::meet(number, threads, false); }
