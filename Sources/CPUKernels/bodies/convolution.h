// Short causal convolutions, each column independent: y[t] = bias + sum over j of
// w[j] * x[t - (W - 1) + j].

// The largest W.
#define MOST_WIDTH 4

// The W input rows of row r of y, oldest first. Rows before row 0 come from `past`, whose last row is
// row -1. Returns how many come from `past`.
INLINE size_t conv_inputs(const cpu_float_type type, const size_t width, const void *x,
                          ptrdiff_t x_row, const float *past, size_t columns, ptrdiff_t r,
                          const void *inputs[MOST_WIDTH]) {
  size_t from_past = 0;
  for (size_t j = 0; j < width; j++) {
    ptrdiff_t from = r - (ptrdiff_t)(width - 1) + (ptrdiff_t)j;
    if (from < 0) {
      from_past++;
      inputs[j] = past + (size_t)(from + (ptrdiff_t)width - 1) * columns;
    } else {
      inputs[j] = row_at(type, x, from * x_row);
    }
  }
  return from_past;
}

INLINE vf conv_load(const cpu_float_type type, const void *const inputs[MOST_WIDTH],
                    const size_t from_past, size_t j, size_t i, size_t part) {
  return j < from_past ? load_state((const float *)inputs[j] + i, part)
                       : v_load_part_as(type, inputs[j], i, part);
}

INLINE void conv_row(const cpu_float_type type, const size_t width, const int silu,
                     const size_t from_past, size_t columns,
                     const void *const inputs[MOST_WIDTH], const float *weight, const float *bias,
                     void *restrict y) {
  FOR_COLUMNS(
      vf sum = bias ? load_state(bias + i, part) : (vf){0};
      for (size_t j = 0; j < width; j++)
        sum += load_state(weight + j * columns + i, part) *
               conv_load(type, inputs, from_past, j, i, part);
      if (silu) sum *= v_sigmoid(sum);
      v_store_part_as(type, y, i, sum, part, 0);)
}

INLINE void conv_rows(const cpu_float_type type, const size_t width, const int silu, size_t rows,
                      size_t columns, const void *x, ptrdiff_t x_row, const float *past,
                      const float *weight, const float *bias, void *y, ptrdiff_t y_row) {
  for (size_t r = 0; r < rows; r++) {
    void *yr = row_of(type, y, (ptrdiff_t)r * y_row);
    const void *inputs[MOST_WIDTH];
    size_t from_past =
        conv_inputs(type, width, x, x_row, past, columns, (ptrdiff_t)r, inputs);
    if (from_past == 0)
      conv_row(type, width, silu, 0, columns, inputs, weight, bias, yr);
    else
      conv_row(type, width, silu, from_past, columns, inputs, weight, bias, yr);
  }
}

// Specialised by width and type; four is the usual width.
#define FOR_CONVOLUTIONS                       \
  if (type == CPU_F32 && width == MOST_WIDTH) { \
    if (silu) CONVOLVE(CPU_F32, MOST_WIDTH, 1); \
    else CONVOLVE(CPU_F32, MOST_WIDTH, 0);      \
  } else if (type == CPU_F32) {                \
    CONVOLVE(CPU_F32, width, silu);            \
  } else if (type == CPU_BF16) {               \
    CONVOLVE(CPU_BF16, width, silu);           \
  } else {                                     \
    CONVOLVE(CPU_F16, width, silu);            \
  }

static void short_convolution(cpu_float_type type, size_t width, int silu, size_t rows,
                              size_t columns, const void *x, ptrdiff_t x_row, const float *past,
                              const float *weight, const float *bias, void *y,
                              ptrdiff_t y_row) {
#define CONVOLVE(type, width, silu) \
  conv_rows(type, width, silu, rows, columns, x, x_row, past, weight, bias, y, y_row)
  FOR_CONVOLUTIONS
#undef CONVOLVE
}

// The gradient of row r before the activation, and its contributions to dweight and dbias.
INLINE void conv_row_gradient(const cpu_float_type type, const size_t width, const int silu,
                              const size_t from_past, size_t columns,
                              const void *const inputs[MOST_WIDTH], const float *weight,
                              const float *bias, const void *dy, float *restrict gradients,
                              float *restrict dweight, float *restrict dbias) {
  FOR_COLUMNS(
      vf input[MOST_WIDTH];
      vf gradient = v_load_part_as(type, dy, i, part);
      for (size_t j = 0; j < width; j++)
        input[j] = conv_load(type, inputs, from_past, j, i, part);
      if (silu) {
        vf sum = bias ? load_state(bias + i, part) : (vf){0};
        for (size_t j = 0; j < width; j++)
          sum += load_state(weight + j * columns + i, part) * input[j];
        vf s = v_sigmoid(sum);
        gradient *= s * (1.0f + sum * (1.0f - s));
      }
      for (size_t j = 0; j < width; j++) {
        float *dw = dweight + j * columns + i;
        store_state(dw, load_state(dw, part) + gradient * input[j], part);
      }
      if (bias) store_state(dbias + i, load_state(dbias + i, part) + gradient, part);
      store_state(gradients + i, gradient, part);)
}

// From the last row to the first, then through the rows of `past`. `ring` keeps the gradients before
// the activation of the rows from r on, that of row r at index (r + width) mod width.
INLINE void conv_rows_backward(const cpu_float_type type, const size_t width, const int silu,
                               size_t rows, size_t columns, const void *x, ptrdiff_t x_row,
                               const float *past, const float *weight, const float *bias,
                               const void *dy, ptrdiff_t dy_row, const float *dlast,
                               float *restrict ring, void *restrict dx, ptrdiff_t dx_row,
                               float *restrict dpast, float *dweight, float *dbias) {
  const ptrdiff_t before = (ptrdiff_t)width - 1;
  memset(ring, 0, width * columns * sizeof(float));
  for (ptrdiff_t r = (ptrdiff_t)rows - 1; r >= -before; r--) {
    const float *later[MOST_WIDTH];
    for (size_t k = 0; k < width; k++)
      later[k] = ring + ((size_t)(r + (ptrdiff_t)width) + k) % width * columns;
    float *own = (float *)later[0];
    if (r >= 0) {
      const void *inputs[MOST_WIDTH];
      size_t from_past = conv_inputs(type, width, x, x_row, past, columns, r, inputs);
      const void *dyr = row_at(type, dy, r * dy_row);
      if (from_past == 0)
        conv_row_gradient(type, width, silu, 0, columns, inputs, weight, bias, dyr, own, dweight,
                          dbias);
      else
        conv_row_gradient(type, width, silu, from_past, columns, inputs, weight, bias, dyr, own,
                          dweight, dbias);
    } else {
      memset(own, 0, columns * sizeof(float));
    }
    // The gradient from rows after the last belongs to the last inputs.
    ptrdiff_t last = r - (ptrdiff_t)rows + before;
    const float *received = last >= 0 ? dlast + (size_t)last * columns : NULL;
    void *to = r >= 0 ? row_of(type, dx, r * dx_row) : dpast + (size_t)(r + before) * columns;
    FOR_COLUMNS(
        vf to_input = received ? load_state(received + i, part) : (vf){0};
        for (size_t k = 0; k < width; k++)
          to_input += load_state(weight + (width - 1 - k) * columns + i, part) *
                      load_state(later[k] + i, part);
        if (r >= 0)
          v_store_part_as(type, to, i, to_input, part, 0);
        else
          store_state((float *)to + i, to_input, part);)
  }
}

static void short_convolution_backward(cpu_float_type type, size_t width, int silu, size_t rows,
                                       size_t columns, const void *x, ptrdiff_t x_row,
                                       const float *past, const float *weight, const float *bias,
                                       const void *dy, ptrdiff_t dy_row, const float *dlast,
                                       float *ring, void *dx, ptrdiff_t dx_row, float *dpast,
                                       float *dweight, float *dbias) {
#define CONVOLVE(type, width, silu)                                                              \
  conv_rows_backward(type, width, silu, rows, columns, x, x_row, past, weight, bias, dy, dy_row, \
                     dlast, ring, dx, dx_row, dpast, dweight, dbias)
  FOR_CONVOLUTIONS
#undef CONVOLVE
}
