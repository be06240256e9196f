// bodies/softmax_tile.h: the operations on a tile of scores before and after its softmax. The softmax
// itself is in softmax_weights.c.
#include <float.h>

#include "check.h"
#include "tile.h"

static void mask_band(void) {
  static const ptrdiff_t bands[][2] = {{0, 1},       {-3, 1}, {2, 40}, {-100, 100}, {-100, -50},
                                       {200, 300}, {5, 5},  {7, 3},  {-4, 2}};
  FOR_TILES(rows, columns) for (size_t band = 0; band < COUNT(bands); band++) {
    ptrdiff_t low = bands[band][0], high = bands[band][1];
    BEGIN_TILE(", band %td to %td", low, high);
    kernels->mask_band(rows, columns, s, stride, low, high);
    FOR_TILE(r, j) {
      ptrdiff_t at = (ptrdiff_t)j - (ptrdiff_t)r;
      equal("s", r * stride + j, S(r, j), at >= low && at < high ? BEFORE(r, j) : -INFINITY);
    }
    gaps_untouched("s", s, rows, columns, stride);
  }
}

static void mask_keys(void) {
  FOR_TILES(rows, columns) {
    BEGIN_TILE("%s", "");
    uint8_t *keep = memory(columns);
    for (size_t j = 0; j < columns; j++) keep[j] = random_bits() & 1;
    kernels->mask_keys(rows, columns, s, stride, keep);
    FOR_TILE(r, j) equal("s", r * stride + j, S(r, j), keep[j] ? BEFORE(r, j) : -INFINITY);
    gaps_untouched("s", s, rows, columns, stride);
  }
}

// Sums out of range become the largest numbers, unless the summand is infinite.
static void add_rows_out_of_range(void) {
  static const float pairs[][3] = {
      {-2e38f, -FLT_MAX, -FLT_MAX}, {-INFINITY, -1e9f, -FLT_MAX}, {2e38f, 3e38f, FLT_MAX},
      {INFINITY, 1, FLT_MAX},       {1, -INFINITY, -INFINITY},    {1, INFINITY, INFINITY},
      {NAN, -1e9f, NAN},            {1, NAN, NAN},                {1, -FLT_MAX, -FLT_MAX},
      {3, -1e9f, -1e9f},            {FLT_MAX, -FLT_MAX, 0}};
  begin("%zu pairs", COUNT(pairs));
  float s[COUNT(pairs)], b[COUNT(pairs)];
  for (size_t j = 0; j < COUNT(pairs); j++) s[j] = pairs[j][0], b[j] = pairs[j][1];
  kernels->add_rows(1, COUNT(pairs), s, COUNT(pairs), b, 0, 1);
  for (size_t j = 0; j < COUNT(pairs); j++) equal("s", j, s[j], pairs[j][2]);
}

static void add_rows(void) {
  add_rows_out_of_range();
  FOR_TILES(rows, columns) for (int form = 0; form < 4; form++) {
    // Whole, broadcast over rows, broadcast over columns, every second element.
    const ptrdiff_t strides[][2] = {
        {(ptrdiff_t)columns, 1}, {0, 1}, {1, 0}, {2 * (ptrdiff_t)columns, 2}};
    ptrdiff_t b_row = strides[form][0], b_column = strides[form][1];
    BEGIN_TILE(", strides %td and %td", b_row, b_column);
    size_t count = (rows - 1) * (size_t)b_row + (columns - 1) * (size_t)b_column + 1;
    float *b = random_floats(count, -1, 1);
    // Masked by the bias, with any score.
    size_t hidden = random_bits() % columns;
    b[(ptrdiff_t)hidden * b_column] = -INFINITY;
    s[hidden] = NAN;
    kernels->add_rows(rows, columns, s, stride, b, b_row, b_column);
    FOR_TILE(r, j) {
      float added = b[(ptrdiff_t)r * b_row + (ptrdiff_t)j * b_column];
      equal("s", r * stride + j, S(r, j),
            added == -INFINITY ? -INFINITY : (float)(BEFORE(r, j) + added));
    }
    gaps_untouched("s", s, rows, columns, stride);
  }
}

// A bias of `count` elements of `type`, one of which masks its pair.
static void *random_bias(cpu_bias_type type, size_t count, size_t hidden) {
  if (type == CPU_BIAS_BOOL) {
    uint8_t *flags = memory(count);
    // Any byte but 0 is true.
    for (size_t i = 0; i < count; i++) flags[i] = random_bits() & 1 ? (uint8_t)random_bits() : 0;
    flags[hidden] = 0;
    return flags;
  }
  if (type == CPU_BIAS_F64) {
    double *x = doubles(count);
    for (size_t i = 0; i < count; i++) x[i] = uniform(-1, 1);
    x[hidden] = -INFINITY;
    return x;
  }
  if (type == CPU_BIAS_F32) {
    float *x = random_floats(count, -1, 1);
    x[hidden] = -INFINITY;
    return x;
  }
  uint16_t *x = random_rows_as(type == CPU_BIAS_BF16 ? CPU_BF16 : CPU_F16, 1, count, count);
  x[hidden] = type == CPU_BIAS_BF16 ? 0xFF80 : 0xFC00;
  return x;
}

// The float32 addend for element i of a bias.
static float added_by(cpu_bias_type type, const void *b, size_t i) {
  switch (type) {
    case CPU_BIAS_F32: return ((const float *)b)[i];
    case CPU_BIAS_BF16: return (float)element(CPU_BF16, b, i);
    case CPU_BIAS_F16: return (float)element(CPU_F16, b, i);
    case CPU_BIAS_F64: return (float)((const double *)b)[i];
    case CPU_BIAS_BOOL: return ((const uint8_t *)b)[i] ? 0 : -INFINITY;
  }
  return NAN;
}

static void add_bias(void) {
  for (cpu_bias_type type = CPU_BIAS_F32; type <= CPU_BIAS_BOOL; type++)
    FOR_TILES(rows, columns) for (int form = 0; form < 5; form++) {
      // Whole, broadcast over rows, broadcast over columns, every second element, and transposed.
      const ptrdiff_t strides[][2] = {{(ptrdiff_t)columns, 1},
                                      {0, 1},
                                      {1, 0},
                                      {2 * (ptrdiff_t)columns, 2},
                                      {1, (ptrdiff_t)rows}};
      ptrdiff_t b_row = strides[form][0], b_column = strides[form][1];
      BEGIN_TILE(", type %d, strides %td and %td", (int)type, b_row, b_column);
      size_t count = (rows - 1) * (size_t)b_row + (columns - 1) * (size_t)b_column + 1;
      size_t hidden = random_bits() % columns;
      void *b = random_bias(type, count, hidden * (size_t)b_column);
      s[hidden] = NAN;
      kernels->add_bias(type, rows, columns, s, stride, b, b_row, b_column);
      FOR_TILE(r, j) {
        float added = added_by(type, b, r * (size_t)b_row + j * (size_t)b_column);
        equal("s", r * stride + j, S(r, j),
              added == -INFINITY ? -INFINITY : (float)(BEFORE(r, j) + added));
      }
      gaps_untouched("s", s, rows, columns, stride);
    }
}

static void add_alibi(void) {
  FOR_TILES(rows, columns) for (ptrdiff_t offset = -40; offset <= 1000; offset += 260) {
    BEGIN_TILE(", offset %td", offset);
    kernels->add_alibi(rows, columns, s, stride, 0.3f, offset);
    FOR_TILE(r, j) {
      double pull = (double)0.3f * fabs((double)r + (double)offset - (double)j);
      near("s", r * stride + j, S(r, j), BEFORE(r, j) - pull, fabs(BEFORE(r, j)) + pull, 2);
    }
    gaps_untouched("s", s, rows, columns, stride);
  }
}

static void add_difference(void) {
  FOR_TILES(rows, columns) {
    BEGIN_TILE("%s", "");
    const float *row = random_floats(rows, -9, 0), *column = random_floats(columns, -9, 0);
    kernels->add_difference(rows, columns, s, stride, row, column);
    FOR_TILE(r, j)
      near("s", r * stride + j, S(r, j), BEFORE(r, j) + row[r] - column[j],
           fabs(BEFORE(r, j)) + fabs((double)row[r]) + fabs((double)column[j]), 2);
    gaps_untouched("s", s, rows, columns, stride);
  }
}

static void softcap(void) {
  const float cap = 5;
  FOR_TILES(rows, columns) {
    BEGIN_TILE("%s", "");
    s[0] = -INFINITY;
    kernels->softcap(rows, columns, s, stride, cap);
    FOR_TILE(r, j) {
      double want = r + j == 0 ? -cap : cap * tanh(BEFORE(r, j) / cap);
      near("s", r * stride + j, S(r, j), want, fabs(want), 12);
    }
    gaps_untouched("s", s, rows, columns, stride);
  }
}

static void softcap_backward(void) {
  const float cap = 20;
  FOR_TILES(rows, columns) {
    BEGIN_TILE("%s", "");
    const float *c = random_rows(rows, columns, stride, -19, 19);
    kernels->softcap_backward(rows, columns, c, s, stride, cap);
    FOR_TILE(r, j) {
      double t = c[r * stride + j] / cap, d = BEFORE(r, j);
      near("d", r * stride + j, S(r, j), d * (1 - t * t), fabs(d) * (1 + t * t), 6);
    }
    gaps_untouched("d", s, rows, columns, stride);
  }
}

static void scale_tile(void) {
  FOR_TILES(rows, columns) {
    BEGIN_TILE("%s", "");
    const float *row = random_floats(rows, -2, 2), *column = random_floats(columns, -2, 2);
    kernels->scale_tile(rows, columns, s, stride, row, column);
    FOR_TILE(r, j) {
      double want = BEFORE(r, j) * row[r] * column[j];
      near("s", r * stride + j, S(r, j), want, fabs(want), 3);
    }
    gaps_untouched("s", s, rows, columns, stride);
  }
}

static void transpose(void) {
  FOR_TILES(rows, columns) {
    BEGIN_TILE("%s", "");
    size_t y_stride = rows + 2;
    float *y = floats((columns - 1) * y_stride + rows);
    kernels->transpose(rows, columns, s, stride, y, y_stride);
    FOR_TILE(r, j) equal("y", j * y_stride + r, y[j * y_stride + r], BEFORE(r, j));
    gaps_untouched("y", y, columns, rows, y_stride);
  }
}

static const test tests[] = {TEST(mask_band), TEST(mask_keys), TEST(add_rows), TEST(add_bias),
    TEST(add_alibi), TEST(add_difference), TEST(softcap), TEST(softcap_backward), TEST(scale_tile),
    TEST(transpose)};
const suite softmax_tile_tests = {tests, COUNT(tests)};
