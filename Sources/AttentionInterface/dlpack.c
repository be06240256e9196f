// Tensors as described by DLPack, without its header: the layout is that of version 1, which earlier versions
// share.

#include <inttypes.h>
#include <stdio.h>

#include "interface_error.h"
#include "swift_attention.h"

typedef struct DLDevice {
  int32_t type;
  int32_t number;
} DLDevice;

typedef struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
} DLDataType;

struct DLTensor {
  void *data;
  DLDevice device;
  int32_t rank;
  DLDataType dtype;
  int64_t *shape;
  // In elements; NULL if the tensor is contiguous.
  int64_t *strides;
  uint64_t byte_offset;
};

// DLDataTypeCode
enum { DL_INT = 0, DL_FLOAT = 2, DL_BFLOAT = 4, DL_BOOL = 6 };

static const struct {
  uint8_t code, bits;
  sa_dtype dtype;
} types[] = {
    {DL_FLOAT, 32, SA_FLOAT32}, {DL_BFLOAT, 16, SA_BFLOAT16}, {DL_FLOAT, 16, SA_FLOAT16},
    {DL_FLOAT, 64, SA_FLOAT64}, {DL_INT, 32, SA_INT32},       {DL_INT, 64, SA_INT64},
    {DL_BOOL, 8, SA_BOOL},
};

static sa_status wrong(const char *message) {
  interface_set_error(message);
  return SA_INVALID_ARGUMENT;
}

static int find_dtype(DLDataType type, int32_t *dtype) {
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    if (types[i].code == type.code && types[i].bits == type.bits && type.lanes == 1) {
      *dtype = types[i].dtype;
      return 0;
    }
  }
  return -1;
}

sa_status sa_tensor_from_dlpack(const struct DLTensor *tensor, sa_tensor *result) {
  if (tensor == NULL || result == NULL) return wrong("tensor or result is NULL; it must be an address");
  char message[128];
  if (tensor->rank < 0 || tensor->rank > SA_MAX_RANK) {
    snprintf(message, sizeof message, "rank is %" PRId32 "; it must be 0 to %d", tensor->rank,
             SA_MAX_RANK);
    return wrong(message);
  }
  sa_tensor found = {.is_present = 1, .rank = tensor->rank};
  if (find_dtype(tensor->dtype, &found.dtype) != 0) {
    snprintf(message, sizeof message,
             "dtype is code %d of %d bits and %d lanes; it must be one that sa_dtype lists",
             tensor->dtype.code, tensor->dtype.bits, tensor->dtype.lanes);
    return wrong(message);
  }
  if (tensor->rank > 0 && tensor->shape == NULL) {
    snprintf(message, sizeof message, "shape is NULL; it must be the address of %" PRId32 " extents",
             tensor->rank);
    return wrong(message);
  }
  if (tensor->data != NULL) found.data = (char *)tensor->data + tensor->byte_offset;
  int64_t contiguous = 1;
  for (int32_t axis = tensor->rank - 1; axis >= 0; axis--) {
    found.shape[axis] = tensor->shape[axis];
    found.strides[axis] = tensor->strides == NULL ? contiguous : tensor->strides[axis];
    if (found.shape[axis] < 0 || found.strides[axis] < 0) {
      snprintf(message, sizeof message,
               "axis %" PRId32 " has extent %" PRId64 " and stride %" PRId64
               "; both must be at least 0",
               axis, found.shape[axis], found.strides[axis]);
      return wrong(message);
    }
    if (__builtin_mul_overflow(contiguous, found.shape[axis] > 1 ? found.shape[axis] : 1,
                               &contiguous)) {
      return wrong("shape is too large; its elements must fit in memory");
    }
  }
  *result = found;
  return SA_OK;
}
