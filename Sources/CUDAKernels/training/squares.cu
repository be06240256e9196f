// The sums of squares of pieces of many tensors, one float32 sum per block.

#include "tile/team.cuh"
#include "training/pieces.cuh"

extern "C" __global__ void training_squares(const __grid_constant__ TrainingSquaresParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Team team(blockDim.x, (float *)shared);
  const TrainingSquaresEntry entry = p.entries[tensor_of(p.entries, p.count, blockIdx.x)];
  const i64 start = (i64)(blockIdx.x - entry.first_block) * piece_length;
  float sum = 0;
  for (int i = threadIdx.x * group_size; i < piece_length; i += piece_threads * group_size) {
    const i64 place = start + i;
    if (place >= entry.count) break;
    const Group group = read_group(entry.numbers, entry.type, place, entry.count - place);
    for (float number : group.at) sum += number * number;
  }
  sum = team.sum(sum);
  if (threadIdx.x == 0) p.sums[blockIdx.x] = sum;
}
