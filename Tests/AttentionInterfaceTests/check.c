#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char current_case[256];
static int failure_count;

void begin(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(current_case, sizeof current_case, format, arguments);
  va_end(arguments);
}

void fail(const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fprintf(stderr, "%s: %s\n", current_case, text);
  __atomic_add_fetch(&failure_count, 1, __ATOMIC_RELAXED);
}

void give_up(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(2);
}

int failures(void) { return failure_count; }

void succeeded(const char *what, sa_status status) {
  if (status != SA_OK) fail("%s gives %d: %s", what, status, sa_error());
}

void refused(const char *what, sa_status status, sa_status expected, const char *words) {
  if (status != expected) {
    fail("%s gives %d, not %d", what, status, expected);
  } else if (strstr(sa_error(), words) == NULL) {
    fail("%s says \"%s\", without \"%s\"", what, sa_error(), words);
  }
}

static uint64_t random_state = 0x9e3779b97f4a7c15;

double uniform(double low, double high) {
  // xorshift64*
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  double unit = (double)((random_state * 0x2545f4914f6cdd1d) >> 11) * 0x1p-53;
  return low + unit * (high - low);
}

// MARK: Operands

static const size_t sizes[] = {4, 2, 2, 8, 4, 8, 1};
static const int gap = 3;

// The order of axes in memory, outermost first.
static void order_axes(layout layout, int rank, int *order) {
  for (int axis = 0; axis < rank; axis++) order[axis] = axis;
  if (layout != EXCHANGED || rank < 3) return;
  int first = rank == 4 ? 1 : rank - 2;
  order[first] = first + 1;
  order[first + 1] = first;
}

// The elements of memory from the first row to the end of the last, gaps included.
static int64_t spread(operand *o, layout layout) {
  int order[SA_MAX_RANK];
  order_axes(layout, o->view.rank, order);
  int64_t step = 1;
  for (int place = o->view.rank - 1; place >= 0; place--) {
    int axis = order[place];
    o->view.strides[axis] = step;
    step *= o->view.shape[axis] > 0 ? o->view.shape[axis] : 1;
    if (layout == GAPS && place == o->view.rank - 1) step += gap;
  }
  return step + (layout == GAPS ? gap : 0);
}

static int64_t place(const operand *o, int64_t index) {
  int64_t at = 0;
  for (int axis = o->view.rank - 1; axis >= 0; axis--) {
    at += index % o->view.shape[axis] * o->view.strides[axis];
    index /= o->view.shape[axis];
  }
  return at;
}

static float half_to_float(uint16_t bits, sa_dtype dtype) {
  if (dtype == SA_FLOAT16) {
    _Float16 half;
    memcpy(&half, &bits, 2);
    return (float)half;
  }
  uint32_t wide = (uint32_t)bits << 16;
  float x;
  memcpy(&x, &wide, 4);
  return x;
}

static double element(const char *at, sa_dtype dtype) {
  float f;
  double d;
  uint16_t bits;
  switch (dtype) {
    case SA_FLOAT32: memcpy(&f, at, 4); return f;
    case SA_FLOAT64: memcpy(&d, at, 8); return d;
    case SA_BFLOAT16:
    case SA_FLOAT16: memcpy(&bits, at, 2); return half_to_float(bits, dtype);
    case SA_BOOL: return *at;
    default: give_up("no operand has dtype %d", dtype);
  }
}

// Writes the nearest number of the dtype, or for bfloat16 one of the two nearest.
static void set_element(char *at, sa_dtype dtype, double x) {
  float f = (float)x;
  _Float16 half = (_Float16)x;
  uint32_t wide;
  memcpy(&wide, &f, 4);
  uint16_t upper = (uint16_t)(wide >> 16);
  switch (dtype) {
    case SA_FLOAT32: memcpy(at, &f, 4); break;
    case SA_FLOAT64: memcpy(at, &x, 8); break;
    case SA_BFLOAT16: memcpy(at, &upper, 2); break;
    case SA_FLOAT16: memcpy(at, &half, 2); break;
    case SA_BOOL: *at = x != 0; break;
    default: give_up("no operand has dtype %d", dtype);
  }
}

static operand *new_operand(sa_dtype dtype, layout layout, int rank, const int64_t *shape) {
  operand *o = calloc(1, sizeof *o);
  o->view = (sa_tensor){.is_present = 1, .dtype = dtype, .rank = rank};
  o->layout = layout;
  o->count = 1;
  for (int axis = 0; axis < rank; axis++) o->count *= o->view.shape[axis] = shape[axis];
  if (o->count > MAX_ELEMENTS) give_up("an operand has %ld elements", (long)o->count);
  return o;
}

static void read_shape(va_list arguments, int rank, int64_t *shape) {
  for (int axis = 0; axis < rank; axis++) shape[axis] = va_arg(arguments, int);
}

// Writes the numbers to memory of the device, with `poison` in all bytes in between.
static const int poison = 0xff;

static void lay_out(operand *o, int has_numbers) {
  size_t size = sizes[o->view.dtype], bytes = (size_t)spread(o, o->layout) * size;
  char *memory = malloc(bytes);
  memset(memory, poison, bytes);
  size_t first = o->layout == GAPS ? gap * size : 0;
  for (int64_t i = 0; has_numbers && i < o->count; i++) {
    char *at = memory + first + (size_t)place(o, i) * size;
    set_element(at, o->view.dtype, o->x[i]);
    o->x[i] = element(at, o->view.dtype);
  }
  char *base = device_memory(bytes);
  to_device(base, memory, bytes);
  o->view.data = base + first;
  free(memory);
}

operand *random_operand(sa_dtype dtype, layout layout, double low, double high, int rank, ...) {
  int64_t shape[SA_MAX_RANK];
  va_list arguments;
  va_start(arguments, rank);
  read_shape(arguments, rank, shape);
  va_end(arguments);
  operand *o = new_operand(dtype, layout, rank, shape);
  for (int64_t i = 0; i < o->count; i++) o->x[i] = uniform(low, high);
  lay_out(o, 1);
  return o;
}

operand *empty_operand(sa_dtype dtype, layout layout, int rank, ...) {
  int64_t shape[SA_MAX_RANK];
  va_list arguments;
  va_start(arguments, rank);
  read_shape(arguments, rank, shape);
  va_end(arguments);
  operand *o = new_operand(dtype, layout, rank, shape);
  lay_out(o, 0);
  return o;
}

// The same shape, dtype and layout, for the gradient of `of`.
static operand *empty_like(const operand *of) {
  operand *o = new_operand(of->view.dtype, of->layout, of->view.rank, of->view.shape);
  lay_out(o, 0);
  return o;
}

operand *integers(int count, const int32_t *numbers) {
  int64_t shape = count;
  operand *o = new_operand(SA_INT32, DENSE, 1, &shape);
  spread(o, DENSE);
  o->view.is_on_host = 1;
  o->view.data = malloc(sizeof *numbers * (size_t)count);
  memcpy(o->view.data, numbers, sizeof *numbers * (size_t)count);
  return o;
}

void fetch(operand *o) {
  size_t size = sizes[o->view.dtype], bytes = (size_t)spread(o, o->layout) * size;
  size_t first = o->layout == GAPS ? gap * size : 0;
  char *memory = malloc(bytes);
  from_device(memory, (char *)o->view.data - first, bytes);
  for (int64_t i = 0; i < o->count; i++) {
    char *at = memory + first + (size_t)place(o, i) * size;
    o->x[i] = element(at, o->view.dtype);
    memset(at, poison, size);
  }
  for (size_t i = 0; i < bytes; i++) {
    if ((unsigned char)memory[i] != poison) {
      fail("byte %zu beside a result was written", i);
      break;
    }
  }
  free(memory);
}

// MARK: Comparisons

void close_to(const char *what, const operand *result, const double *reference, double bound) {
  double error = 0, size = 0;
  for (int64_t i = 0; i < result->count; i++) {
    if (isinf(reference[i]) && result->x[i] == reference[i]) continue;
    double difference = result->x[i] - reference[i];
    error += difference * difference;
    size += reference[i] * reference[i];
  }
  // Not `error > ...`: NaN must fail.
  if (!(sqrt(error) <= bound * sqrt(size))) {
    fail("%s has error %.2e; at most %.0e", what, sqrt(error / size), bound);
  }
}

// The gradient of `loss` with respect to the numbers of `of`, by finite differences.
static void differences(double (*loss)(void *), void *context, operand *of, double *gradient) {
  const double step = 1e-5;
  for (int64_t i = 0; i < of->count; i++) {
    double x = of->x[i];
    of->x[i] = x + step;
    double above = loss(context);
    of->x[i] = x - step;
    double below = loss(context);
    of->x[i] = x;
    gradient[i] = (above - below) / (2 * step);
  }
}

void place_gradients(gradient *all, size_t count) {
  for (gradient *g = all; g < all + count; g++) {
    if (g->of == NULL || g->of->view.dtype == SA_BOOL) continue;
    g->result = empty_like(g->of);
    *g->place = g->result->view;
  }
}

void compare_gradients(gradient *all, size_t count, double (*loss)(void *), void *context,
                       double bound) {
  const double rounded = 2e-2;
  for (gradient *g = all; g < all + count; g++) {
    if (g->result == NULL) continue;
    double reference[MAX_ELEMENTS];
    differences(loss, context, g->of, reference);
    fetch(g->result);
    close_to(g->name, g->result, reference, g->of->view.dtype == SA_BFLOAT16 ? rounded : bound);
  }
}
