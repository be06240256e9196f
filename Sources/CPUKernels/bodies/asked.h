// Rows of memory that will be needed. Fetching many lines in one go fills the few places where lines
// are waited for, and the processor stands still until memory has answered. Loops that hardly need
// memory, as products, fetch a line now and then of what their thread has asked for.
#define LINE_BYTES 64

INLINE void fetch_line(const char *p, int to_write) {
  if (to_write)
    __builtin_prefetch(p, 1, 2);
  else
    __builtin_prefetch(p, 0, 2);
}

// Rows that begin within a line reach into one line more: the first row's bytes are counted from where
// its line begins, which serves the others as they lie at multiples of lines, or nearly so.
INLINE asked_block whole_lines(size_t rows, size_t bytes, const void *x, ptrdiff_t stride,
                               int to_write) {
  size_t within = (uintptr_t)x % LINE_BYTES;
  return (asked_block){(const char *)x - within, rows, bytes + within, stride, to_write};
}

static void prefetch(size_t rows, size_t bytes, const void *x, ptrdiff_t stride, int to_write) {
  asked_block block = whole_lines(rows, bytes, x, stride, to_write);
  for (size_t r = 0; r < rows; r++, block.row += stride)
    for (size_t i = 0; i < block.bytes; i += LINE_BYTES) fetch_line(block.row + i, to_write);
}

static void ask(size_t rows, size_t bytes, const void *x, ptrdiff_t stride, int to_write) {
  asked_rows *asked = &cpu_asked_rows;
  // What there is no room for is brought by its use.
  if (rows == 0 || bytes == 0 || asked->end - asked->first == MOST_ASKED) return;
  asked->all[asked->end++ % MOST_ASKED] = whole_lines(rows, bytes, x, stride, to_write);
}

// The next line of what this thread has asked for.
INLINE void fetch_asked(asked_rows *asked) {
  if (asked->first == asked->end) return;
  asked_block *block = &asked->all[asked->first % MOST_ASKED];
  fetch_line(block->row + asked->byte, block->to_write);
  asked->byte += LINE_BYTES;
  if (asked->byte < block->bytes) return;
  asked->byte = 0;
  block->row += block->stride;
  if (--block->rows == 0) asked->first++;
}
