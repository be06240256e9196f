// The norm of all gradients, from the sums of training/squares.cu, and the factor that clips it to `limit`.
// One block; sums are added in float64, in an order that depends on their number only.

#include "training/pieces.cuh"

extern "C" __global__ void training_clip(const __grid_constant__ TrainingClipParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  double *totals = (double *)shared;
  double total = 0;
  for (int i = threadIdx.x; i < p.count; i += blockDim.x) total += p.sums[i];
  totals[threadIdx.x] = total;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) totals[threadIdx.x] += totals[threadIdx.x + half];
  }
  if (threadIdx.x != 0) return;
  const double norm = sqrt(totals[0]);
  p.figures[0] = norm;
  p.figures[1] = norm > p.limit ? p.limit / norm : 1;
}
