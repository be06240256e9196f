// One AdamW step on many parameters in one launch.
//
//     m ← β₁ m + (1 − β₁) g                v ← β₂ v + (1 − β₂) g²
//     p ← p − rate · ( (m / correction₁) / (√(v / correction₂) + ε) + decay · p )

#include "training/pieces.cuh"

extern "C" __global__ void training_adamw(const __grid_constant__ TrainingAdamWParameters p) {
  const TrainingAdamWEntry entry = p.entries[tensor_of(p.entries, p.count, blockIdx.x)];
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
      first.at[k] = p.rates.beta1 * first.at[k] + (1 - p.rates.beta1) * g;
      second.at[k] = p.rates.beta2 * second.at[k] + (1 - p.rates.beta2) * g * g;
      const float step =
          first.at[k] / p.rates.correction1 / (sqrtf(second.at[k] / p.rates.correction2) + p.rates.epsilon);
      parameter.at[k] -= p.rates.rate * (step + entry.decay * parameter.at[k]);
    }
    write_group<f32>(entry.new_parameter + place, left, parameter);
    write_group<f32>(entry.new_first + place, left, first);
    write_group<f32>(entry.new_second + place, left, second);
    if (entry.rounded) write_group(entry.rounded, entry.rounded_type, place, left, parameter);
  }
}
