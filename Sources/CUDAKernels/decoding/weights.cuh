#pragma once

#include "tile/numbers.cuh"
#include "tile/ring.cuh"

#include "decoding/step.h"

// The rows of matrices that a block multiplies, and the warp that fetches them. It runs ahead of the others
// through all stages, so that memory is read while they wait for the numbers of other blocks.

using WeightRing = Ring<decoding_slots>;

// The output's rows that are this block's.
struct OwnRows {
  int first;
  int count;

  __device__ explicit OwnRows(const DecodingStage &stage)
      : first(stage.block_rows * (int)blockIdx.x + min((int)blockIdx.x, stage.more_rows)),
        count(stage.block_rows + ((int)blockIdx.x < stage.more_rows)) {}
};

// What is read of a stage by this block: units, each a part of a row, in this order of rows: all rows of the
// first matrix that are the block's, then those of the next.
struct Units {
  int columns;
  int parts;
  int part_columns;
  OwnRows rows;
  int sides;  // 2 where the same rows of two matrices are multiplied
  int count;

  __device__ explicit Units(const DecodingStage &stage)
      : columns(stage.columns),
        parts(stage.parts),
        part_columns(stage.part_columns),
        rows(stage),
        sides(stage.output_kind == decoding_swiglu ? 2 : 1),
        count(sides * rows.count * parts) {}

  // A unit's row, and its part of the row.
  __device__ int row(int unit) const { return parts == 1 ? unit : unit / parts; }
  __device__ int part(int unit) const { return parts == 1 ? 0 : unit % parts; }

  // The columns from `start` that belong to a part.
  __device__ int start(int part) const { return part * part_columns; }
  __device__ int length(int part) const { return min(part_columns, columns - start(part)); }
};

// The matrix of a row of all of them.
DEVICE const DecodingMatrix &matrix_of(const DecodingStage &stage, int row) {
  int index = 0;
  while (index + 1 < stage.matrix_count && row >= stage.matrices[index + 1].first) ++index;
  return stage.matrices[index];
}

DEVICE void copy_stage(DecodingStage *target, const DecodingStage *source, int lane) {
  static_assert(sizeof(DecodingStage) % chunk_bytes == 0, "a stage is not of whole chunks");
  for (int i = lane; i < (int)(sizeof(DecodingStage) / chunk_bytes); i += warp_threads) {
    ((uint4 *)target)[i] = ((const uint4 *)source)[i];
  }
}

// Called by one warp: fetches all units of the launch's stages in order. `kept` has room for two stages.
template <typename Number>
SELDOM void fetch_weights(const DecodingStepParameters &p, const WeightRing &ring, u32 slots,
                          DecodingStage *kept) {
  const int lane = threadIdx.x % warp_threads;
  int turn = 0;
  copy_stage(&kept[p.first % 2], &p.stages[p.first], lane);
  __syncwarp();
  for (int number = p.first; number < p.last; ++number) {
    if (number + 1 < p.last) copy_stage(&kept[(number + 1) % 2], &p.stages[number + 1], lane);
    const DecodingStage &stage = kept[number % 2];
    if (stage.kind == decoding_product) {
      const Units units(stage);
      for (int unit = lane; unit < units.count; unit += warp_threads) {
        const int part = units.part(unit);
        int row = units.row(unit);
        const DecodingMatrix *matrix;
        if (units.sides == 2) {
          const int side = row >= units.rows.count;
          matrix = &stage.matrices[side];
          row += units.rows.first - side * units.rows.count;
        } else {
          row += units.rows.first;
          matrix = &matrix_of(stage, row);
          row -= matrix->first;
        }
        const u32 bytes = units.length(part) * sizeof(Number);
        const u32 full = ring.claim(turn + unit, bytes);
        copy_bytes(slots + (turn + unit) % decoding_slots * decoding_slot_bytes,
                   (const Number *)matrix->weight + (i64)row * units.columns + units.start(part),
                   bytes, full);
      }
      turn += units.count;
    }
    __syncwarp();
  }
}
