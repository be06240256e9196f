// One step of AdamW on many parameters in one launch.
//
//     m ← β₁ m + (1 − β₁) g                v ← β₂ v + (1 − β₂) g²
//     p ← p − rate · ( (m / correction₁) / (√(v / correction₂) + ε) + decay · p )

#include "training/pieces.cuh"

struct Entry {
  const float *parameter;
  const void *gradient;
  const float *first;
  const float *second;
  float *new_parameter;
  float *new_first;
  float *new_second;
  void *rounded;  // the new parameter in another type too, or null
  i64 count;
  int first_block;
  int gradient_type;
  int rounded_type;
  float decay;
};

struct Parameters {
  const Entry *entries;
  const double *gradient_scale;
  int count;
  float rate;
  float beta1;
  float beta2;
  float epsilon;
  float correction1;
  float correction2;
};

extern "C" __global__ void training_adamw(const __grid_constant__ Parameters p) {
  const Entry entry = p.entries[tensor_of(p.entries, p.count, blockIdx.x)];
  const i64 start = (i64)(blockIdx.x - entry.first_block) * piece_length;
  const float scale = (float)*p.gradient_scale;
  for (int i = threadIdx.x * group_size; i < piece_length; i += piece_threads * group_size) {
    const i64 place = start + i;
    const i64 left = entry.count - place;
    if (left <= 0) return;
    Group parameter = read_group<f32>(entry.parameter + place, left);
    Group first = read_group<f32>(entry.first + place, left);
    Group second = read_group<f32>(entry.second + place, left);
    const Group gradient = read_group(entry.gradient, entry.gradient_type, place, left);
    for (int k = 0; k < group_size; k++) {
      const float g = gradient.at[k] * scale;
      first.at[k] = p.beta1 * first.at[k] + (1 - p.beta1) * g;
      second.at[k] = p.beta2 * second.at[k] + (1 - p.beta2) * g * g;
      const float step =
          first.at[k] / p.correction1 / (sqrtf(second.at[k] / p.correction2) + p.epsilon);
      parameter.at[k] -= p.rate * (step + entry.decay * parameter.at[k]);
    }
    write_group<f32>(entry.new_parameter + place, left, parameter);
    write_group<f32>(entry.new_first + place, left, first);
    write_group<f32>(entry.new_second + place, left, second);
    if (entry.rounded) write_group(entry.rounded, entry.rounded_type, place, left, parameter);
  }
}
