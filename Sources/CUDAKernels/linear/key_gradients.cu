// What the passes of the delta rule's backward pass found, added up: with W what is written, dV the gradient of the
// values, and keys' gradients as those of queries' states, of later writes and of their own reading,
//
//     dk = of queries − of writes − of reads ,   dβ = dV·W / β² .
//
// One warp for a token of a head. Compiled with
//   KEYS     the key dimension, 64 or 128
//   VALUES   the value dimension, the same

#define ELEMENT bf16
#define UPDATE 1
#define COLUMNS VALUES
#define DECAYS 0
#define NORMALIZES 0
#define REVERSED 1
#define FLOWS 0
#define STRICT 0
#define OUTPUTS 1

#include "linear/hopper.cuh"

struct Parameters {
  Rows of_queries, of_writes, of_reads;   // [b, t, hv, k]
  Rows written, values;                   // W and dV [b, t, hv, v]
  Rows beta;                              // [b, t, hv, 1]
  Rows keys;                              // dk [b, t, hv, k]
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
    linear_key_gradients(const __grid_constant__ Parameters p) {
  const i64 index = (i64)blockIdx.x * warps + threadIdx.x / warp_threads;
  if (index >= p.rows) return;
  const int head = index % p.heads, token = index / p.heads % p.length, batch = index / p.heads / p.length;
  auto place = [&](const Rows &rows) { return rows.place(batch, token, head); };

  Lane<KEYS> keys(p.of_queries, place(p.of_queries));
  const Lane<KEYS> writes(p.of_writes, place(p.of_writes)), reads(p.of_reads, place(p.of_reads));
  const Lane<VALUES> values(p.values, place(p.values)), written(p.written, place(p.written));
  float beta = p.beta.load(place(p.beta));
  if (fabsf(beta) < least_beta) beta = least_beta;
#pragma unroll
  for (int n = 0; n < Lane<KEYS>::pairs; ++n) {
    keys.x[n].x -= writes.x[n].x + reads.x[n].x;
    keys.x[n].y -= writes.x[n].y + reads.x[n].y;
  }
  keys.store(p.keys, place(p.keys));
  float sum = 0;
#pragma unroll
  for (int n = 0; n < Lane<VALUES>::pairs; ++n) {
    sum += values.x[n].x / beta * (written.x[n].x / beta) + values.x[n].y / beta * (written.x[n].y / beta);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % warp_threads == 0) p.beta_gradient.store(place(p.beta_gradient), sum);
}
