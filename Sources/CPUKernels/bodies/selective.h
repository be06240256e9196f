// Mamba's selective scan: the states of a column decay at rates of their own, scaled by one step per
// token. Vectors are of adjacent columns: the step is loaded once for all states, values shared by the
// columns are broadcast, and the forward pass needs no sum across lanes.

// The most states of a vector of columns that are kept in registers.
#define STATE_BLOCK 16

// Lines taken from the thread's prefetch queue per row and vector of columns: forward as many as the
// inputs, steps and outputs of other rows need, backward those of two gradients too.
#define LINES_PER_ROW 3
#define LINES_PER_ROW_BACKWARD 5

// `count` <= STATE_BLOCK states of one vector of columns over all rows. The first block starts y from
// the skip; the others add to it.
INLINE void selective_block(const size_t count, size_t part, int is_first, size_t rows,
                            size_t states, size_t stride, const float *x, ptrdiff_t x_row,
                            const float *step, ptrdiff_t step_row, const float *a, const float *b,
                            ptrdiff_t b_row, const float *c, ptrdiff_t c_row, const float *skip,
                            float *h, float *history, float *y, ptrdiff_t y_row) {
  vf state[STATE_BLOCK], rate[STATE_BLOCK];
  for (size_t n = 0; n < count; n++) {
    state[n] = load_state(h + n * stride, part);
    rate[n] = load_state(a + n * stride, part);
  }
  vf through = is_first && skip ? load_state(skip, part) : (vf){0};
  prefetch_queue *queue = &cpu_prefetch_queue;
  for (size_t r = 0; r < rows; r++) {
    for (size_t n = 0; n < LINES_PER_ROW; n++) fetch_next(queue);
    vf input = load_state(x + (ptrdiff_t)r * x_row, part);
    vf length = load_state(step + (ptrdiff_t)r * step_row, part);
    vf written = input * length, out = through * input;
    const float *br = b + (ptrdiff_t)r * b_row, *cr = c + (ptrdiff_t)r * c_row;
    for (size_t n = 0; n < count; n++) {
      if (history) store_state(history + (r * states + n) * stride, state[n], part);
      state[n] = v_decay_add(state[n], length * rate[n], written * br[n]);
      out += state[n] * cr[n];
    }
    if (!y) continue;
    float *yr = y + (ptrdiff_t)r * y_row;
    store_state(yr, is_first ? out : out + load_state(yr, part), part);
  }
  for (size_t n = 0; n < count; n++) {
    if (history) store_state(history + (rows * states + n) * stride, state[n], part);
    store_state(h + n * stride, state[n], part);
  }
}

static void selective_scan(size_t rows, size_t columns, size_t states, const float *x,
                           ptrdiff_t x_row, const float *step, ptrdiff_t step_row, const float *a,
                           const float *b, ptrdiff_t b_row, const float *c, ptrdiff_t c_row,
                           const float *skip, float *h, float *history, float *y,
                           ptrdiff_t y_row) {
  for (size_t n = 0; n < states; n += STATE_BLOCK) {
    size_t count = states - n < STATE_BLOCK ? states - n : STATE_BLOCK;
    for (size_t i = 0; i < columns; i += LANES) {
      size_t part = columns - i < LANES ? columns - i : LANES, at = n * columns + i;
#define BLOCK(count, part)                                                                     \
  selective_block(count, part, n == 0, rows, states, columns, x + i, x_row, step + i, step_row, \
                  a + at, b + n, b_row, c + n, c_row, skip ? skip + i : NULL, h + at,          \
                  history ? history + at : NULL, y ? y + i : NULL, y_row)
      if (count == STATE_BLOCK && part == LANES)
        BLOCK(STATE_BLOCK, LANES);
      else
        BLOCK(count, part);
#undef BLOCK
    }
  }
}

// The inputs of one row of the gradient, and those of the row before it that its states need.
typedef struct {
  const float *x, *step, *dy, *b, *c;
  const float *states_before, *states_after;
  // Of the row before; NULL at the first row.
  const float *earlier_dy, *earlier_c;
  int is_last;
} selective_row;

// One vector of columns of one row backward; sums over columns are left in db and dc, one vector per
// state. The value carried from row to row is the whole gradient of a row's states.
INLINE void selective_columns_backward(const size_t count, size_t part, size_t stride, size_t i,
                                       const selective_row *row, const float *a, float *dh,
                                       float *da, vf *db, vf *dc, vf *to_written,
                                       vf *to_length) {
  vf length = load_state(row->step + i, part);
  vf written = load_state(row->x + i, part) * length, incoming = load_state(row->dy + i, part);
  vf earlier = row->earlier_dy ? load_state(row->earlier_dy + i, part) : (vf){0};
  const float *earlier_c = row->earlier_dy ? row->earlier_c : row->c;
  for (size_t n = 0; n < count; n++) {
    size_t at = n * stride + i;
    vf rate = load_state(a + at, part), gradient = load_state(dh + at, part);
    if (row->is_last) gradient += incoming * row->c[n];
    dc[n] += incoming * load_state(row->states_after + at, part);
    db[n] += written * gradient;
    *to_written += gradient * row->b[n];
    vf rest;
    gradient = v_decay_split(gradient, length * rate, &rest);
    store_state(dh + at, gradient + (gradient * rest + earlier * earlier_c[n]), part);
    gradient = (gradient + gradient * rest) * load_state(row->states_before + at, part);
    store_state(da + at, load_state(da + at, part) + length * gradient, part);
    *to_length += rate * gradient;
  }
}

INLINE void selective_row_backward(const size_t count, size_t columns, int is_first_block,
                                   const selective_row *row, const float *a, const float *skip,
                                   float *dh, float *dx, float *dstep, float *da, float *db,
                                   float *dc, float *dskip) {
  const float ln2 = 0.693147180559945309f;
  vf b_sums[STATE_BLOCK] = {0}, c_sums[STATE_BLOCK] = {0};
  prefetch_queue *queue = &cpu_prefetch_queue;
  FOR_COLUMNS(
      for (size_t n = 0; n < LINES_PER_ROW_BACKWARD; n++) fetch_next(queue);
      vf to_written = {0};
      vf to_length = {0};
      selective_columns_backward(count, part, columns, i, row, a, dh, da, b_sums, c_sums,
                                 &to_written, &to_length);
      vf input = load_state(row->x + i, part);
      vf to_input = to_written * load_state(row->step + i, part);
      vf to_step = to_written * input + to_length * ln2;
      if (!is_first_block) {
        to_input += load_state(dx + i, part);
        to_step += load_state(dstep + i, part);
      } else if (skip) {
        vf incoming = load_state(row->dy + i, part);
        to_input += incoming * load_state(skip + i, part);
        store_state(dskip + i, load_state(dskip + i, part) + incoming * input, part);
      }
      store_state(dx + i, to_input, part);
      store_state(dstep + i, to_step, part);)
#if VECTOR_BYTES == 64
  float sums[2 * STATE_BLOCK];
  v_store(sums, v_sums(b_sums));
  v_store(sums + STATE_BLOCK, v_sums(c_sums));
  for (size_t n = 0; n < count; n++) db[n] += sums[n], dc[n] += sums[STATE_BLOCK + n];
#else
  for (size_t n = 0; n < count; n++) db[n] += v_sum(b_sums[n]), dc[n] += v_sum(c_sums[n]);
#endif
}

static void selective_scan_backward(size_t rows, size_t columns, size_t states, const float *x,
                                    ptrdiff_t x_row, const float *step, ptrdiff_t step_row,
                                    const float *a, const float *b, ptrdiff_t b_row,
                                    const float *c, ptrdiff_t c_row, const float *skip,
                                    const float *history, const float *dy, ptrdiff_t dy_row,
                                    float *dh, float *dx, float *dstep, float *da, float *db,
                                    float *dc, float *dskip) {
  for (size_t n = 0; n < states; n += STATE_BLOCK) {
    size_t count = states - n < STATE_BLOCK ? states - n : STATE_BLOCK, at = n * columns;
    for (ptrdiff_t r = (ptrdiff_t)rows; r-- > 0;) {
      const float *before = history + (size_t)r * states * columns + at;
      selective_row row = {.x = x + r * x_row,
                           .step = step + r * step_row,
                           .dy = dy + r * dy_row,
                           .b = b + r * b_row + n,
                           .c = c + r * c_row + n,
                           .states_before = before,
                           .states_after = before + states * columns,
                           .earlier_dy = r > 0 ? dy + (r - 1) * dy_row : NULL,
                           .earlier_c = r > 0 ? c + (r - 1) * c_row + n : NULL,
                           .is_last = r == (ptrdiff_t)rows - 1};
#define ROW(count)                                                                      \
  selective_row_backward(count, columns, n == 0, &row, a + at, skip, dh + at,           \
                         dx + (size_t)r * columns, dstep + (size_t)r * columns, da + at, \
                         db + (size_t)r * states + n, dc + (size_t)r * states + n, dskip)
      if (count == STATE_BLOCK)
        ROW(STATE_BLOCK);
      else
        ROW(count);
#undef ROW
    }
  }
}

// One token, with the states of a column adjacent, as in a state passed between calls.
static void selective_step(size_t columns, size_t states, const float *x, const float *step,
                           const float *a, const float *b, const float *c, const float *skip,
                           const float *h, float *new_h, float *y) {
  for (size_t i = 0; i < columns; i++, h += states, new_h += states, a += states) {
    vf out = {0};
    for (size_t n = 0; n < states; n += LANES) {
      size_t part = states - n < LANES ? states - n : LANES;
      // An infinite rate times a step of 0 would be NaN.
      vf rate = v_max(v_set(-FLT_MAX), load_state(a + n, part));
      vf log = rate * (step[i] * LOG2_E);
      vf written = x[i] * step[i] * load_state(b + n, part);
      vf state = v_decay_add(load_state(h + n, part), log, written);
      out += state * load_state(c + n, part);
      store_state(new_h + n, state, part);
    }
    y[i] = v_sum(out) + (skip ? skip[i] * x[i] : 0);
  }
}

// log(1 + e^v) by -log(sigmoid(-v)), which loses no digits.
INLINE vf v_softplus(vf v) { return -v_log_sigmoid(-v); }

static void softplus(size_t rows, size_t columns, const float *x, ptrdiff_t x_row,
                     const float *bias, float *y) {
  for (size_t r = 0; r < rows; r++, x += x_row, y += columns)
    FOR_COLUMNS(vf v = load_state(x + i, part);
                if (bias) v += load_state(bias + i, part);
                store_state(y + i, v_softplus(v), part);)
}

static void softplus_backward(size_t rows, size_t columns, const float *x, ptrdiff_t x_row,
                              const float *bias, float *g) {
  for (size_t r = 0; r < rows; r++, x += x_row, g += columns)
    FOR_COLUMNS(vf v = load_state(x + i, part);
                if (bias) v += load_state(bias + i, part);
                vf derivative = v_sigmoid(v);
                // Where the step cannot change, an infinite incoming gradient would give NaN.
                vf own = load_state(g + i, part) * derivative;
                store_state(g + i, v_select(derivative == (vf){0}, (vf){0}, own), part);)
}
