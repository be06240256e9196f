// What a thread has asked for and not fetched yet, for all instruction sets.
#include <stddef.h>

typedef struct {
  const char *row;
  size_t rows, bytes;
  ptrdiff_t stride;
  int to_write;
} asked_block;

#define MOST_ASKED 16

typedef struct {
  asked_block all[MOST_ASKED];
  // Blocks are taken from `first`, whose row is fetched up to `byte`; both count on.
  size_t first, end, byte;
} asked_rows;

extern _Thread_local asked_rows cpu_asked_rows;
