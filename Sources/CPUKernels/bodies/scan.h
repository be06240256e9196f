// The recurrence h = e^g h + x with one h per column. All columns of a row come before the next row, so
// that memory is accessed in order; h stays in the first cache.

// Calls `body` with the element types as constants. g has the type of x or is float32.
#define FOR_TYPES(body)                                        \
  if (gate == CPU_F32) {                                       \
    if (type == CPU_F32) body(CPU_F32, CPU_F32);               \
    else if (type == CPU_BF16) body(CPU_BF16, CPU_F32);        \
    else body(CPU_F16, CPU_F32);                               \
  } else if (type == CPU_BF16) body(CPU_BF16, CPU_BF16);       \
  else body(CPU_F16, CPU_F16);

// The body for each vector of columns; `part` is LANES, or fewer in the last vector.
#define FOR_COLUMNS(...)                    \
  {                                         \
    size_t i = 0;                           \
    for (; i + LANES <= columns; i += LANES) { \
      const size_t part = LANES;            \
      __VA_ARGS__                           \
    }                                       \
    if (i < columns) {                      \
      const size_t part = columns - i;      \
      __VA_ARGS__                           \
    }                                       \
  }

// Prefetches rows that are not contiguous, such as those of a strip of columns, into the second cache:
// the row STRIP_ROWS_AHEAD after `row` (`sign` 1) or before it (-1).
#define STRIP_ROWS_AHEAD 8
INLINE void prefetch_ahead(cpu_float_type type, const void *row, ptrdiff_t stride, size_t columns,
                      size_t i, const ptrdiff_t sign) {
  if (stride != (ptrdiff_t)columns)
    __builtin_prefetch(row_at(type, row, sign * STRIP_ROWS_AHEAD * stride + (ptrdiff_t)i), 0,
                       2);
}

// h += x
INLINE void add_row(const cpu_float_type type, size_t columns, const void *x, float *h) {
  FOR_COLUMNS(store_state(h + i, load_state(h + i, part) + v_load_part_as(type, x, i, part), part);)
}

// One vector of columns of a row.
INLINE vf scan_vector(const cpu_float_type type, const cpu_float_type gate, const void *x,
                      const void *g, float *h, size_t i, size_t part) {
  vf log = v_load_part_as(gate, g, i, part) * LOG2_E;
  vf state = v_decay_add(load_state(h + i, part), log, v_load_part_as(type, x, i, part));
  store_state(h + i, state, part);
  return state;
}

INLINE void scan_rows(const cpu_float_type type, const cpu_float_type gate, int past_caches,
                      size_t rows, size_t columns, const void *x, ptrdiff_t x_row, const void *g,
                      ptrdiff_t g_row, float *restrict h, void *restrict y, ptrdiff_t y_row) {
  for (size_t r = 0; r < rows; r++) {
    const void *xr = row_at(type, x, (ptrdiff_t)r * x_row);
    const void *gr = row_at(gate, g, (ptrdiff_t)r * g_row);
    void *yr = row_of(type, y, (ptrdiff_t)r * y_row);
    size_t i = 0;
    for (; i + 2 * LANES <= columns; i += 2 * LANES) {
      for (size_t at = i; at < i + 2 * LANES; at += LANES) {
        prefetch_ahead(type, xr, x_row, columns, at, 1);
        prefetch_ahead(gate, gr, g_row, columns, at, 1);
      }
      vf low = scan_vector(type, gate, xr, gr, h, i, LANES);
      vf high = scan_vector(type, gate, xr, gr, h, i + LANES, LANES);
      v_store_two_as(type, yr, i, low, high, past_caches);
    }
    for (; i < columns; i += LANES) {
      size_t part = columns - i < LANES ? columns - i : LANES;
      vf state = scan_vector(type, gate, xr, gr, h, i, part);
      v_store_part_as(type, yr, i, state, part, past_caches);
    }
  }
}

static void scan(cpu_float_type type, cpu_float_type gate, int past_caches, size_t rows,
                 size_t columns, const void *x, ptrdiff_t x_row, const void *g, ptrdiff_t g_row,
                 float *h, void *y, ptrdiff_t y_row) {
#define BODY(a, b) \
  scan_rows(a, b, past_caches, rows, columns, x, x_row, g, g_row, h, y, y_row)
  FOR_TYPES(BODY)
#undef BODY
  end_stores(past_caches);
}

// The value carried from row to row is the whole gradient of a row, to which the next adds at once.
INLINE void carry_rows(const cpu_float_type type, const cpu_float_type gate, int backwards,
                       size_t rows, size_t columns, const void *x, ptrdiff_t x_row, const void *g,
                       ptrdiff_t g_row, float *restrict h, float *restrict total) {
  if (backwards && rows > 0) add_row(type, columns, row_at(type, x, ((ptrdiff_t)rows - 1) * x_row), h);
  for (size_t n = 0; n < rows; n++) {
    ptrdiff_t r = (ptrdiff_t)(backwards ? rows - 1 - n : n);
    const void *gr = row_at(gate, g, r * g_row), *xr = row_at(type, x, r * x_row);
    if (backwards) xr = r > 0 ? row_at(type, x, (r - 1) * x_row) : NULL;
    FOR_COLUMNS(
        vf log = v_load_part_as(gate, gr, i, part);
        vf added = xr ? v_load_part_as(type, xr, i, part) : (vf){0};
        store_state(h + i, v_decay_add(load_state(h + i, part), log * LOG2_E, added), part);
        store_state(total + i, load_state(total + i, part) + log, part);)
  }
}

static void scan_carry(cpu_float_type type, cpu_float_type gate, int backwards, size_t rows,
                       size_t columns, const void *x, ptrdiff_t x_row, const void *g,
                       ptrdiff_t g_row, float *h, float *total) {
#define BODY(a, b) \
  carry_rows(a, b, backwards, rows, columns, x, x_row, g, g_row, h, total)
  FOR_TYPES(BODY)
#undef BODY
}

// The inputs of one row backward; dy and y are those of the row before, NULL at the first.
typedef struct {
  const void *g, *dy, *y;
  const float *first;
} backward_row;

// One vector of columns of a row: returns dx, and dg in *dg.
INLINE vf scan_vector_backward(const cpu_float_type type, const cpu_float_type gate,
                               const backward_row *row, float *dh, size_t i, size_t part,
                               vf *dg) {
  vf received = row->y ? v_load_part_as(type, row->dy, i, part) : (vf){0};
  vf state = row->y ? v_load_part_as(type, row->y, i, part) : load_state(row->first + i, part);
  vf dx = load_state(dh + i, part), rest;
  vf whole = v_decay_split(dx, v_load_part_as(gate, row->g, i, part) * LOG2_E, &rest);
  *dg = (whole + whole * rest) * state;
  store_state(dh + i, whole + (whole * rest + received), part);
  return dx;
}

INLINE void scan_rows_backward(const cpu_float_type type, const cpu_float_type gate,
                               int past_caches, size_t rows, size_t columns, const void *g,
                               ptrdiff_t g_row, const void *y, ptrdiff_t y_row,
                               const float *first, const void *dy, ptrdiff_t dy_row,
                               float *restrict dh, void *restrict dx, void *restrict dg,
                               ptrdiff_t d_row) {
  if (rows > 0) add_row(type, columns, row_at(type, dy, ((ptrdiff_t)rows - 1) * dy_row), dh);
  for (ptrdiff_t r = (ptrdiff_t)rows; r-- > 0;) {
    const backward_row row = {.g = row_at(gate, g, r * g_row),
                              .dy = row_at(type, dy, (r - 1) * dy_row),
                              .y = r > 0 ? row_at(type, y, (r - 1) * y_row) : NULL,
                              .first = first};
    void *dxr = row_of(type, dx, r * d_row), *dgr = row_of(gate, dg, r * d_row);
    // From the last columns, too: contiguous rows are then memory walked backwards, which hardware
    // prefetchers follow as well as forwards.
    size_t i = columns / (2 * LANES) * 2 * LANES;
    for (size_t rest = i; rest < columns; rest += LANES) {
      size_t part = columns - rest < LANES ? columns - rest : LANES;
      vf decay, input = scan_vector_backward(type, gate, &row, dh, rest, part, &decay);
      v_store_part_as(type, dxr, rest, input, part, past_caches);
      v_store_part_as(gate, dgr, rest, decay, part, past_caches);
    }
    while (i > 0) {
      i -= 2 * LANES;
      for (size_t at = i; at < i + 2 * LANES; at += LANES) {
        prefetch_ahead(gate, row.g, g_row, columns, at, -1);
        prefetch_ahead(type, row.dy, dy_row, columns, at, -1);
        prefetch_ahead(type, row.y, y_row, columns, at, -1);
      }
      vf low_decay, high_decay;
      vf high = scan_vector_backward(type, gate, &row, dh, i + LANES, LANES, &high_decay);
      vf low = scan_vector_backward(type, gate, &row, dh, i, LANES, &low_decay);
      v_store_two_as(type, dxr, i, low, high, past_caches);
      v_store_two_as(gate, dgr, i, low_decay, high_decay, past_caches);
    }
  }
}

static void scan_backward(cpu_float_type type, cpu_float_type gate, int past_caches, size_t rows,
                          size_t columns, const void *g, ptrdiff_t g_row, const void *y,
                          ptrdiff_t y_row, const float *first, const void *dy, ptrdiff_t dy_row,
                          float *dh, void *dx, void *dg, ptrdiff_t d_row) {
#define BODY(a, b)                                                                            \
  scan_rows_backward(a, b, past_caches, rows, columns, g, g_row, y, y_row, first, dy, dy_row, \
                     dh, dx, dg, d_row)
  FOR_TYPES(BODY)
#undef BODY
  end_stores(past_caches);
}
