// Copies the bytes of each batch entry to a place in longer ones: rows appended to a cache.

#include "tile/base.cuh"

struct Parameters {
  const u8 *source;  // [batch, bytes]
  u8 *target;        // the place in the first entry; those of the others are `pitch` bytes apart
  i64 bytes;
  i64 pitch;
  int batch;
};

constexpr int wide_bytes = 16;

extern "C" __global__ void layers_append(const __grid_constant__ Parameters p) {
  using Address = unsigned long long;
  const bool is_wide =
      ((Address)p.source | (Address)p.target | (Address)p.bytes | (Address)p.pitch) % wide_bytes == 0;
  const int step = is_wide ? wide_bytes : 1;
  const i64 pieces = p.bytes / step;
  const i64 threads = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < pieces * p.batch; i += threads) {
    const i64 entry = i / pieces;
    const i64 place = i % pieces * step;
    const u8 *source = p.source + entry * p.bytes + place;
    u8 *target = p.target + entry * p.pitch + place;
    if (is_wide) {
      *(uint4 *)target = *(const uint4 *)source;
    } else {
      *target = *source;
    }
  }
}
