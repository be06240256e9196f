// A stand-in for cuBLASLt: matrix products accumulated in float32 (float64 for float64), computed when called.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

// Constants of the cuBLASLt headers.
enum { SUCCESS = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { FLOAT32 = 0, FLOAT64 = 1, FLOAT16 = 2, BFLOAT16 = 14 };
enum { SUMS_FLOAT32 = 68, SUMS_FLOAT64 = 70, SUMS_TF32 = 77 };
enum { DESC_COMPUTE_TYPE = 0, DESC_SCALE_TYPE = 1, DESC_LEFT_TRANSPOSED = 3, DESC_RIGHT_TRANSPOSED = 4 };
enum {
  LAYOUT_TYPE = 0, LAYOUT_ORDER = 1, LAYOUT_ROWS = 2, LAYOUT_COLUMNS = 3, LAYOUT_PITCH = 4,
  LAYOUT_BATCH = 5, LAYOUT_BATCH_STRIDE = 6,
};
enum { BY_COLUMNS = 0, BY_ROWS = 1 };

struct desc {
  int compute, scale, left_transposed, right_transposed;
};
struct layout {
  int type, order;
  uint64_t rows, columns;
  int64_t pitch;
  int batch;
  int64_t batch_stride;
};
struct heuristic {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};

EXPORT size_t cublasLtGetVersion(void) { return 130000; }
EXPORT const char *cublasLtGetStatusName(int status) {
  return status == SUCCESS ? "CUBLAS_STATUS_SUCCESS"
         : status == NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
                                   : "CUBLAS_STATUS_INVALID_VALUE";
}
EXPORT const char *cublasLtGetStatusString(int status) {
  return status == SUCCESS ? "success" : "the emulated library does not take this";
}
EXPORT int cublasLtCreate(void **handle) {
  *handle = NULL;
  return SUCCESS;
}
EXPORT int cublasLtDestroy(void *handle) {
  (void)handle;
  return SUCCESS;
}
EXPORT int cublasLtMatmulDescCreate(struct desc **desc, int compute, int scale) {
  *desc = calloc(1, sizeof **desc);
  (*desc)->compute = compute;
  (*desc)->scale = scale;
  return SUCCESS;
}
EXPORT int cublasLtMatmulDescDestroy(struct desc *desc) {
  free(desc);
  return SUCCESS;
}
EXPORT int cublasLtMatmulDescSetAttribute(struct desc *desc, int name, const void *value,
                                          size_t bytes) {
  if (bytes != sizeof(int)) return INVALID_VALUE;
  int *field = name == DESC_COMPUTE_TYPE       ? &desc->compute
               : name == DESC_SCALE_TYPE       ? &desc->scale
               : name == DESC_LEFT_TRANSPOSED  ? &desc->left_transposed
               : name == DESC_RIGHT_TRANSPOSED ? &desc->right_transposed
                                               : NULL;
  if (field == NULL) return NOT_SUPPORTED;
  memcpy(field, value, bytes);
  return SUCCESS;
}
EXPORT int cublasLtMatrixLayoutCreate(struct layout **layout, int type, uint64_t rows,
                                      uint64_t columns, int64_t pitch) {
  *layout = calloc(1, sizeof **layout);
  **layout = (struct layout){
      .type = type, .rows = rows, .columns = columns, .pitch = pitch, .batch = 1};
  return SUCCESS;
}
EXPORT int cublasLtMatrixLayoutDestroy(struct layout *layout) {
  free(layout);
  return SUCCESS;
}
EXPORT int cublasLtMatrixLayoutSetAttribute(struct layout *layout, int name, const void *value,
                                            size_t bytes) {
  void *field;
  size_t size;
#define FIELD(member) (field = &layout->member, size = sizeof layout->member)
  switch (name) {
    case LAYOUT_TYPE: FIELD(type); break;
    case LAYOUT_ORDER: FIELD(order); break;
    case LAYOUT_ROWS: FIELD(rows); break;
    case LAYOUT_COLUMNS: FIELD(columns); break;
    case LAYOUT_PITCH: FIELD(pitch); break;
    case LAYOUT_BATCH: FIELD(batch); break;
    case LAYOUT_BATCH_STRIDE: FIELD(batch_stride); break;
    default: return NOT_SUPPORTED;
  }
  if (bytes != size) return INVALID_VALUE;
  memcpy(field, value, size);
  return SUCCESS;
}
EXPORT int cublasLtMatmulPreferenceCreate(void **preference) {
  *preference = NULL;
  return SUCCESS;
}
EXPORT int cublasLtMatmulPreferenceDestroy(void *preference) {
  (void)preference;
  return SUCCESS;
}
EXPORT int cublasLtMatmulPreferenceSetAttribute(void *preference, int name, const void *value,
                                                size_t bytes) {
  (void)preference, (void)name, (void)value, (void)bytes;
  return SUCCESS;
}

// The extents of a product's operand after transposition, and its strides.
struct view {
  uint64_t rows, columns;
  int64_t row, column;
};

static struct view view(const struct layout *layout, int transposed) {
  int64_t row = layout->order == BY_ROWS ? layout->pitch : 1;
  int64_t column = layout->order == BY_ROWS ? 1 : layout->pitch;
  return transposed ? (struct view){layout->columns, layout->rows, column, row}
                    : (struct view){layout->rows, layout->columns, row, column};
}

static int fits(const struct layout *layout) {
  uint64_t least = layout->order == BY_ROWS ? layout->columns : layout->rows;
  return layout->rows > 0 && layout->columns > 0 && layout->pitch >= (int64_t)least &&
         layout->batch > 0;
}

static int check(const struct desc *desc, const struct layout *a, const struct layout *b,
                 const struct layout *c, const struct layout *d) {
  struct view x = view(a, desc->left_transposed), y = view(b, desc->right_transposed);
  int is_double = a->type == FLOAT64;
  if (!fits(a) || !fits(b) || !fits(c) || !fits(d) || x.columns != y.rows || d->rows != x.rows ||
      d->columns != y.columns || a->batch != d->batch || b->batch != d->batch ||
      a->type != b->type || c->type != d->type) {
    return INVALID_VALUE;
  }
  if (is_double ? desc->compute != SUMS_FLOAT64 || desc->scale != FLOAT64 || d->type != FLOAT64
                : (desc->compute != SUMS_FLOAT32 && desc->compute != SUMS_TF32) ||
                      desc->scale != FLOAT32 || d->type == FLOAT64) {
    return NOT_SUPPORTED;
  }
  return SUCCESS;
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(void *handle, const struct desc *desc,
                                          const struct layout *a, const struct layout *b,
                                          const struct layout *c, const struct layout *d,
                                          void *preference, int asked, struct heuristic *results,
                                          int *found) {
  (void)handle, (void)preference;
  int status = check(desc, a, b, c, d);
  *found = status == SUCCESS && asked > 0;
  if (*found) memset(results, 0, sizeof *results);
  return status;
}

static size_t size(int type) { return type == FLOAT64 ? 8 : type == FLOAT32 ? 4 : 2; }

static double load(const void *base, int type, int64_t place) {
  switch (type) {
    case FLOAT64: return ((const double *)base)[place];
    case FLOAT32: return ((const float *)base)[place];
    case FLOAT16: return ((const _Float16 *)base)[place];
    default: {
      uint32_t bits = (uint32_t)((const uint16_t *)base)[place] << 16;
      float number;
      memcpy(&number, &bits, sizeof number);
      return number;
    }
  }
}

static void store(void *base, int type, int64_t place, double number) {
  switch (type) {
    case FLOAT64: ((double *)base)[place] = number; break;
    case FLOAT32: ((float *)base)[place] = (float)number; break;
    case FLOAT16: ((_Float16 *)base)[place] = (_Float16)number; break;
    default: {
      float narrow = (float)number;
      uint32_t bits;
      memcpy(&bits, &narrow, sizeof bits);
      uint32_t rounded = narrow != narrow ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
      ((uint16_t *)base)[place] = (uint16_t)rounded;
    }
  }
}

// A matrix as contiguous rows of double.
static double *gather(const void *base, int type, struct view v) {
  double *rows = malloc(v.rows * v.columns * sizeof *rows);
  for (uint64_t i = 0; i < v.rows; i++) {
    for (uint64_t j = 0; j < v.columns; j++) {
      rows[i * v.columns + j] = load(base, type, (int64_t)i * v.row + (int64_t)j * v.column);
    }
  }
  return rows;
}

EXPORT int cublasLtMatmul(void *handle, const struct desc *desc, const void *alpha, const void *a,
                          const struct layout *a_layout, const void *b,
                          const struct layout *b_layout, const void *beta, const void *c,
                          const struct layout *c_layout, void *d, const struct layout *d_layout,
                          const void *algorithm, void *workspace, size_t workspace_bytes,
                          void *stream) {
  (void)handle, (void)algorithm, (void)workspace, (void)workspace_bytes, (void)stream;
  int status = check(desc, a_layout, b_layout, c_layout, d_layout);
  if (status != SUCCESS) return status;
  double scale = load(alpha, desc->scale, 0), kept = load(beta, desc->scale, 0);
  struct view x = view(a_layout, desc->left_transposed);
  struct view y = view(b_layout, desc->right_transposed);
  struct view old = view(c_layout, 0), out = view(d_layout, 0);
  for (int batch = 0; batch < d_layout->batch; batch++) {
    const char *left = (const char *)a + batch * a_layout->batch_stride * size(a_layout->type);
    const char *right = (const char *)b + batch * b_layout->batch_stride * size(b_layout->type);
    const char *before = (const char *)c + batch * c_layout->batch_stride * size(c_layout->type);
    char *target = (char *)d + batch * d_layout->batch_stride * size(d_layout->type);
    double *rows = gather(left, a_layout->type, x), *columns = gather(right, b_layout->type, y);
    double *sums = malloc(y.columns * sizeof *sums);
    for (uint64_t i = 0; i < x.rows; i++) {
      memset(sums, 0, y.columns * sizeof *sums);
      for (uint64_t k = 0; k < x.columns; k++) {
        double factor = rows[i * x.columns + k];
        for (uint64_t j = 0; j < y.columns; j++) sums[j] += factor * columns[k * y.columns + j];
      }
      for (uint64_t j = 0; j < y.columns; j++) {
        double sum = scale * sums[j];
        if (kept != 0) {
          sum += kept * load(before, c_layout->type, (int64_t)i * old.row + (int64_t)j * old.column);
        }
        store(target, d_layout->type, (int64_t)i * out.row + (int64_t)j * out.column, sum);
      }
    }
    free(rows);
    free(columns);
    free(sums);
  }
  return SUCCESS;
}
