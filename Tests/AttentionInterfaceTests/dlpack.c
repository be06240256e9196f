// Tensors as DLPack describes them.

#include <string.h>

#include "check.h"

// The declaration in dlpack.h.
struct DLTensor {
  void *data;
  struct {
    int32_t type, number;
  } device;
  int32_t rank;
  struct {
    uint8_t code, bits;
    uint16_t lanes;
  } dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};

void test_dlpack(void) {
  begin("DLPack");
  float numbers[24];
  int64_t shape[] = {2, 3, 4}, strides[] = {1, 8, 2};
  struct DLTensor tensor = {.data = numbers, .device = {1, 0}, .rank = 3, .shape = shape};
  tensor.dtype.code = 2, tensor.dtype.bits = 32, tensor.dtype.lanes = 1;
  tensor.byte_offset = 8;
  sa_tensor view;
  succeeded("contiguous", sa_tensor_from_dlpack(&tensor, &view));
  const int64_t expected[] = {12, 4, 1};
  if (view.data != numbers + 2 || view.is_present != 1 || view.dtype != SA_FLOAT32 ||
      view.rank != 3 || memcmp(view.shape, shape, sizeof shape) != 0 ||
      memcmp(view.strides, expected, sizeof expected) != 0) {
    fail("a contiguous tensor is read as another");
  }
  tensor.strides = strides;
  succeeded("strided", sa_tensor_from_dlpack(&tensor, &view));
  if (memcmp(view.strides, strides, sizeof strides) != 0) fail("strides are read as others");
  strides[1] = -8;
  refused("a negative stride", sa_tensor_from_dlpack(&tensor, &view), SA_INVALID_ARGUMENT, "axis 1");
  tensor.dtype.bits = 8;
  refused("eight bits", sa_tensor_from_dlpack(&tensor, &view), SA_INVALID_ARGUMENT, "8 bits");
  tensor.rank = 5;
  refused("rank 5", sa_tensor_from_dlpack(&tensor, &view), SA_INVALID_ARGUMENT, "rank is 5");
  refused("NULL", sa_tensor_from_dlpack(NULL, &view), SA_INVALID_ARGUMENT, "NULL");
  tensor.dtype.bits = 32, tensor.rank = 3, tensor.shape = NULL;
  refused("no shape", sa_tensor_from_dlpack(&tensor, &view), SA_INVALID_ARGUMENT, "shape is NULL");

  static const struct {
    uint8_t code, bits;
    sa_dtype dtype;
  } types[] = {{4, 16, SA_BFLOAT16}, {2, 16, SA_FLOAT16}, {2, 64, SA_FLOAT64},
               {0, 32, SA_INT32},    {0, 64, SA_INT64},   {6, 8, SA_BOOL}};
  tensor.rank = 0;
  for (size_t i = 0; i < COUNT(types); i++) {
    tensor.dtype.code = types[i].code, tensor.dtype.bits = types[i].bits;
    succeeded("a dtype", sa_tensor_from_dlpack(&tensor, &view));
    if (view.dtype != (int32_t)types[i].dtype) fail("type %zu is read as %d", i, view.dtype);
  }
}
