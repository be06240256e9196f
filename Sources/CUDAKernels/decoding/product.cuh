#pragma once

#include "tile/team.cuh"

#include "decoding/tagged.cuh"
#include "decoding/weights.cuh"

extern __shared__ __align__(1024) u8 shared[];

// Sixteen bytes of shared memory. Unlike instructions of `tile/`, the compiler may start several at once.
DEVICE uint4 chunk_at(u32 address) { return *(const uint4 *)(shared + (address - shared_address(shared))); }

// What the warps that compute share: a barrier of their own, and the block's memory.

DEVICE void meet() { synchronize(1, decoding_workers); }

struct Workplace {
  u32 slots;  // shared-memory addresses
  u32 input;
  WeightRing ring;
  float *numbers;
  float *shares;
  float *squares;
};

DEVICE float logistic(float x) { return __fdividef(1, 1 + __expf(-x)); }
DEVICE float silu(float x) { return x * logistic(x); }

// A number of a vector that need not exist.
DEVICE float read_or_zero(const float *base, int place) { return base ? base[place] : 0; }

// Numbers of a row in shared memory, eight to a chunk of half precision: where two lanes' numbers would be in
// the same bank, the second four of each eight are kept apart.
template <typename Number>
struct Input {
  static constexpr int chunk = chunk_bytes / sizeof(Number);
  u32 address;
  int half;  // bytes

  __device__ Input(u32 address, int columns) : address(address), half(columns / 2 * float_bytes) {}

  // The address of a number, whose three neighbours follow if its column is a multiple of four.
  __device__ u32 at(int column) const {
    if constexpr (chunk == 4) return address + column * float_bytes;
    return address + (column / 8 * 4 + column % 4) * float_bytes + (column & 4 ? half : 0);
  }
};

template <typename Element>
DEVICE void widen(float (&x)[chunk_bytes / sizeof(Stored<Element>)], const uint4 &words) {
  const u32 pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(Stored<Element>) == sizeof(float)) {
      x[i] = __uint_as_float(pairs[i]);
    } else {
      x[2 * i] = Element::widen((u16)pairs[i]);
      x[2 * i + 1] = Element::widen((u16)(pairs[i] >> 16));
    }
  }
}

// A lane's share of the product of a unit's numbers and the input's, both at these addresses.
template <typename Element>
DEVICE float multiply(u32 unit, const Input<Stored<Element>> &input, int start, int length) {
  using Number = Stored<Element>;
  constexpr int chunk = Input<Number>::chunk;
  constexpr int step = warp_threads * chunk;
  const int first = threadIdx.x % warp_threads * chunk;
  u32 weights = unit + first * sizeof(Number);
  // Both addresses of a lane's eight numbers move by the same step.
  u32 numbers = input.at(start + first);
  float sums[2] = {};
#pragma unroll 4
  for (int column = first; column < length; column += step) {
    float w[chunk];
    widen<Element>(w, chunk_at(weights));
#pragma unroll
    for (int i = 0; i < chunk; i += 4) {
      const uint4 x = chunk_at(numbers + (i ? input.half : 0));
      float &sum = sums[i / 4 % 2];
      sum += w[i] * __uint_as_float(x.x);
      sum += w[i + 1] * __uint_as_float(x.y);
      sum += w[i + 2] * __uint_as_float(x.z);
      sum += w[i + 3] * __uint_as_float(x.w);
    }
    weights += step * sizeof(Number);
    numbers += step / (chunk / 4) * float_bytes;
  }
  return sums[0] + sums[1];
}

// Waits for the input and leaves it in shared memory, times the norm's weight and the gate. Returns the factor
// that a norm over all columns still lacks.
template <typename Element, int Kind>
DEVICE float take_input(const DecodingStage &stage, const Workplace &place, u32 tag) {
  constexpr int reach = 2;
  // What a warp takes at once.
  constexpr int grain = 2 * warp_threads;
  constexpr bool is_grouped = Kind == decoding_grouped;
  const int lane = threadIdx.x % warp_threads;
  const int columns = stage.columns;
  const int group = stage.group;
  const float epsilon = stage.epsilon;
  const u64 *from = stage.input;
  const u64 *gate = stage.gate;
  const int gate_kind = stage.gate_kind;
  const float *norm = stage.norm;
  const Input<Stored<Element>> input(place.input, columns);
  float squares = 0;
  for (int first = 2 * threadIdx.x; first < columns; first += reach * 2 * decoding_workers) {
    TaggedPair x[reach], gates[reach];
    float2 weights[reach];
#pragma unroll
    for (int n = 0; n < reach; ++n) {
      const int column = first + 2 * n * decoding_workers;
      if (column >= columns) continue;
      if (Kind != decoding_plain) weights[n] = *(const float2 *)(norm + column);
      x[n].start(from + column);
      if (is_grouped && gate_kind != decoding_ungated) gates[n].start(gate + column);
    }
#pragma unroll
    for (int n = 0; n < reach; ++n) {
      const int column = first + 2 * n * decoding_workers;
      // Whole warps leave together where groups are summed: the columns are then a multiple of the grain.
      if (column >= columns) continue;
      float2 number = x[n].await(from + column, tag);
      const float square = number.x * number.x + number.y * number.y;
      if (is_grouped) {
        const float sum = warp_sum(square);
        if (lane == 0) place.squares[column / grain] = sum;
      } else {
        squares += square;
      }
      if (Kind != decoding_plain) number = {number.x * weights[n].x, number.y * weights[n].y};
      if (is_grouped && gate_kind != decoding_ungated) {
        float2 factor = gates[n].await(gate + column, tag);
        factor = gate_kind == decoding_swish ? float2{silu(factor.x), silu(factor.y)}
                                             : float2{logistic(factor.x), logistic(factor.y)};
        number = {number.x * factor.x, number.y * factor.y};
      }
      const u32 target = input.at(column);
      store_number(target, number.x);
      store_number(target + float_bytes, number.y);
    }
  }
  if (Kind == decoding_normalized) {
    squares = warp_sum(squares);
    if (lane == 0) place.squares[threadIdx.x / warp_threads] = squares;
  }
  meet();
  if (Kind == decoding_normalized) {
    float sum = lane < decoding_warps ? place.squares[lane] : 0;
    return rsqrtf(warp_sum(sum) / columns + epsilon);
  }
  if (is_grouped) {
    for (int column = 2 * threadIdx.x; column < columns; column += 2 * decoding_workers) {
      const float *squares = place.squares + column / group * (group / grain);
      float sum = 0;
      for (int i = 0; i < group / grain; ++i) sum += squares[i];
      const float factor = rsqrtf(sum / group + epsilon);
      const u32 target = input.at(column);
      for (int i = 0; i < 2; ++i) {
        const u32 at = target + i * float_bytes;
        store_number(at, __uint_as_float(load_word(at)) * factor);
      }
    }
    meet();
  }
  return 1;
}

// The sum of the parts of a row.
DEVICE float sum_of_parts(const float *shares, int parts) {
  float sum = shares[0];
  for (int part = 1; part < parts; ++part) sum += shares[part];
  return sum;
}

// The warps take the units in turn, and threads finish the rows. `turn` counts the units before; returns those
// after the stage.
template <typename Element>
DEVICE int run_product(const DecodingStage &stage, const Workplace &place, int turn, float *logits, u32 tag) {
  const int lane = threadIdx.x % warp_threads;
  const int warp = threadIdx.x / warp_threads;
  const Units units(stage);
  const int kind = stage.output_kind;
  const int row = units.rows.first + threadIdx.x;
  const bool is_own = threadIdx.x < units.rows.count;
  // What the thread's row is added to is on its way while the warps multiply.
  TaggedNumber residual;
  const bool adds = kind == decoding_add;
  if (adds && is_own) residual.start(stage.residual + row);
  const float *bias = stage.bias;
  const float factor = stage.input_kind == decoding_plain ? take_input<Element, decoding_plain>(stage, place, tag)
                       : stage.input_kind == decoding_normalized
                           ? take_input<Element, decoding_normalized>(stage, place, tag)
                           : take_input<Element, decoding_grouped>(stage, place, tag);
  const Input<Stored<Element>> input(place.input, units.columns);
  const int start = (warp - turn % decoding_warps + decoding_warps) % decoding_warps;
  for (int unit = start; unit < units.count; unit += decoding_warps) {
    const int own_turn = turn + unit;
    const int part = units.part(unit);
    place.ring.wait(own_turn);
    const float share = multiply<Element>(place.slots + own_turn % decoding_slots * decoding_slot_bytes, input,
                                          units.start(part), units.length(part));
    __syncwarp();
    if (lane == 0) place.ring.release(own_turn);
    const float sum = warp_sum(share);
    if (lane == 0) place.shares[unit] = sum;
  }
  meet();
  const float scale = stage.scale;
  for (int own = threadIdx.x; own < units.rows.count; own += decoding_workers) {
    const int row = units.rows.first + own;
    const float *shares = place.shares + own * units.parts;
    float y = factor * sum_of_parts(shares, units.parts) + read_or_zero(bias, row);
    if (units.sides == 2) {
      const float other = sum_of_parts(shares + units.rows.count * units.parts, units.parts);
      y = silu(y) * (factor * other + read_or_zero(bias, stage.rows + row));
    }
    y *= scale;
    if (adds) {
      if (own >= decoding_workers) residual.start(stage.residual + row);
      y += stage.residual_scale * residual.await(stage.residual + row, tag);
    }
    if (kind == decoding_logits) {
      if (stage.softcap > 0) y = tanhf(y / stage.softcap) * stage.softcap;
      logits[row] = y;
    } else {
      publish(stage.output + row, y, tag);
    }
  }
  return turn + units.count;
}
