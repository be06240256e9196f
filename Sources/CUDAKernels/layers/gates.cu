// Elementwise gates of layers, selected by `operation`. σ is the logistic function.
//
// Compiled with ELEMENT (f32, bf16 or f16).

#include "tile/numbers.cuh"

#include "layers/kernels.h"

using Element = ELEMENT;

DEVICE float sigmoid(float x) { return 1 / (1 + expf(-x)); }

extern "C" __global__ void layers_gates(
    const __grid_constant__ LayersGatesParameters<Stored<Element>> p) {
  const i64 place = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * group_size;
  const i64 left = p.count - place;
  if (left <= 0) return;
  const Group a = read_group<Element>(p.a + place, left);
  Group first, second;
  switch (p.operation) {
    case gates_swiglu: {
      const Group b = read_group<Element>(p.b + place, left);
      for (int k = 0; k < group_size; k++) first.at[k] = a.at[k] * sigmoid(a.at[k]) * b.at[k];
      return write_group<Element>(p.first + place, left, first);
    }
    case gates_swiglu_backward: {
      const Group b = read_group<Element>(p.b + place, left);
      const Group g = read_group<Element>(p.gradient + place, left);
      for (int k = 0; k < group_size; k++) {
        const float s = sigmoid(a.at[k]);
        first.at[k] = g.at[k] * b.at[k] * s * (1 + a.at[k] * (1 - s));
        second.at[k] = g.at[k] * a.at[k] * s;
      }
      write_group<Element>(p.first + place, left, first);
      return write_group<Element>(p.second + place, left, second);
    }
    case gates_log_sigmoid: {
      for (int k = 0; k < group_size; k++) {
        first.at[k] = (fminf(a.at[k], 0) - log1pf(expf(-fabsf(a.at[k])))) * p.factor;
      }
      return write_group<f32>(p.wide + place, left, first);
    }
    case gates_log_sigmoid_backward: {
      const Group g = read_group<f32>(p.wide + place, left);
      for (int k = 0; k < group_size; k++) {
        first.at[k] = g.at[k] * p.factor * sigmoid(-a.at[k]);
      }
      return write_group<Element>(p.first + place, left, first);
    }
  }
}
