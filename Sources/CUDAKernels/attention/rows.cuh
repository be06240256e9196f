#pragma once

#include "attention/rows.h"
#include "tile/base.cuh"

template <typename T>
struct AttentionRows : AttentionRowsFields<T> {
  __device__ T *at(int batch, int row, int head) const {
    return this->base + batch * this->batch + row * this->row + head * this->head;
  }
};

template <typename T>
using Rows = AttentionRows<T>;
