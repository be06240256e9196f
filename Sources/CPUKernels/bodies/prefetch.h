// Prefetching. Many prefetches at once fill the few line-fill buffers and stall the core until memory
// answers. So loops that hardly use memory, such as products, take a line at a time from their
// thread's prefetch queue.
#define LINE_BYTES 64

INLINE void fetch_line(const char *p, int to_write) {
  if (to_write)
    __builtin_prefetch(p, 1, 2);
  else
    __builtin_prefetch(p, 0, 2);
}

// Starts at a line boundary, so that rows which straddle one line more are fetched whole. The first
// row's offset serves the others too, whose strides are multiples of a line, or nearly so.
INLINE prefetch_block whole_lines(size_t rows, size_t bytes, const void *x, ptrdiff_t stride,
                               int to_write) {
  size_t within = (uintptr_t)x % LINE_BYTES;
  return (prefetch_block){(const char *)x - within, rows, bytes + within, stride, to_write};
}

static void prefetch(size_t rows, size_t bytes, const void *x, ptrdiff_t stride, int to_write) {
  prefetch_block block = whole_lines(rows, bytes, x, stride, to_write);
  for (size_t r = 0; r < rows; r++, block.row += stride)
    for (size_t i = 0; i < block.bytes; i += LINE_BYTES) fetch_line(block.row + i, to_write);
}

static void queue_prefetch(size_t rows, size_t bytes, const void *x, ptrdiff_t stride,
                           int to_write) {
  prefetch_queue *queue = &cpu_prefetch_queue;
  // Rows that do not fit are fetched on use.
  if (rows == 0 || bytes == 0 || queue->end - queue->first == PREFETCH_QUEUE_CAPACITY) return;
  queue->all[queue->end++ % PREFETCH_QUEUE_CAPACITY] = whole_lines(rows, bytes, x, stride, to_write);
}

// Prefetches the next line of this thread's queue.
INLINE void fetch_next(prefetch_queue *queue) {
  if (queue->first == queue->end) return;
  prefetch_block *block = &queue->all[queue->first % PREFETCH_QUEUE_CAPACITY];
  fetch_line(block->row + queue->byte, block->to_write);
  queue->byte += LINE_BYTES;
  if (queue->byte < block->bytes) return;
  queue->byte = 0;
  block->row += block->stride;
  if (--block->rows == 0) queue->first++;
}
