// A thread's prefetch queue, shared by all instruction sets.
#include <stddef.h>

typedef struct {
  const char *row;
  size_t rows, bytes;
  ptrdiff_t stride;
  int to_write;
} prefetch_block;

#define PREFETCH_QUEUE_CAPACITY 16

typedef struct {
  prefetch_block all[PREFETCH_QUEUE_CAPACITY];
  // Blocks first to end - 1 are pending, indices modulo the capacity; the row of `first` is fetched up
  // to `byte`.
  size_t first, end, byte;
} prefetch_queue;

extern _Thread_local prefetch_queue cpu_prefetch_queue;
