#include "family.h"

static const struct cuda_family *const families[] = {
    &tile_family,
    &ladder_family,
    &tensors_family,
    &attention_family,
    &linear_family,
    &scan_family,
    &layers_family,
    &training_family,
};

size_t cuda_source_count(void) {
  size_t count = 0;
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) count += families[i]->count;
  return count;
}

struct cuda_source cuda_source_at(size_t index) {
  const struct cuda_family *const *family = families;
  while (index >= (*family)->count) index -= (*family++)->count;
  return (*family)->sources[index];
}
