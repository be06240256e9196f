// What the passes of the delta rule's backward pass found, added up: with X the corrections, U the gradients of what
// is written (linear/hopper_corrections.cu), and keys' gradients as queries' values, as values' and as readers,
//
//     dk = from queries − from writes − from reads ,   dv = β U ,   dβ = U·X .
//
// One warp for a token of a head. Compiled with
//   KEYS     the key dimension, 64 or 128
//   VALUES   the value dimension, the same

#include "linear/tokens.cuh"
#include "tile/types.cuh"

struct Parameters {
  Rows by_queries, by_writes, by_reads;   // [b, t, hv, k]
  Rows corrections, gradients;            // X and U [b, t, hv, v]
  Rows beta;                              // [b, t, hv, 1]
  Rows keys;                              // dk [b, t, hv, k]
  Rows values;                            // dv [b, t, hv, v]
  Rows beta_gradient;                     // [b, t, hv, 1] float32
  i64 rows;                               // batch × length × value heads
  i64 length;
  int heads;
  int unused;
};

constexpr int warps = 8;

// A lane's numbers of a row of `Width`, pairs side by side.
template <int Width>
struct Lane {
  static constexpr int pairs = Width / 2 / warp_threads;
  float2 x[pairs];

  __device__ Lane(const Rows &rows, i64 place) {
    u32 words[pairs];
#pragma unroll
    for (int n = 0; n < pairs; ++n) words[n] = ((const u32 *)((const u16 *)rows.base + place))[own() + n];
#pragma unroll
    for (int n = 0; n < pairs; ++n) x[n] = {bf16::widen((u16)words[n]), bf16::widen((u16)(words[n] >> 16))};
  }
  __device__ void store(const Rows &rows, i64 place) const {
#pragma unroll
    for (int n = 0; n < pairs; ++n) ((u32 *)((u16 *)rows.base + place))[own() + n] = bf16::pack(x[n].x, x[n].y);
  }
  DEVICE int own() { return threadIdx.x % warp_threads * pairs; }
};

extern "C" __global__ void __launch_bounds__(warps * warp_threads)
    linear_correction_sums(const __grid_constant__ Parameters p) {
  const i64 index = (i64)blockIdx.x * warps + threadIdx.x / warp_threads;
  if (index >= p.rows) return;
  const int head = index % p.heads, token = index / p.heads % p.length, batch = index / p.heads / p.length;
  auto place = [&](const Rows &rows) { return rows.place(batch, token, head); };

  Lane<KEYS> keys(p.by_queries, place(p.by_queries));
  const Lane<KEYS> writes(p.by_writes, place(p.by_writes)), reads(p.by_reads, place(p.by_reads));
  Lane<VALUES> gradients(p.gradients, place(p.gradients));
  const Lane<VALUES> corrections(p.corrections, place(p.corrections));
  const float beta = p.beta.load(place(p.beta));
#pragma unroll
  for (int n = 0; n < Lane<KEYS>::pairs; ++n) {
    keys.x[n].x -= writes.x[n].x + reads.x[n].x;
    keys.x[n].y -= writes.x[n].y + reads.x[n].y;
  }
  keys.store(p.keys, place(p.keys));
  float sum = 0;
#pragma unroll
  for (int n = 0; n < Lane<VALUES>::pairs; ++n) {
    sum += gradients.x[n].x * corrections.x[n].x + gradients.x[n].y * corrections.x[n].y;
    gradients.x[n].x *= beta;
    gradients.x[n].y *= beta;
  }
  gradients.store(p.values, place(p.values));
  sum = warp_sum(sum);
  if (threadIdx.x % warp_threads == 0) p.beta_gradient.store(place(p.beta_gradient), sum);
}
