#pragma once

#include "tile/parameters.h"

CONSTANT(warp_threads, 32);
// Threads of a warpgroup, and rows of its matrix products on Hopper.
CONSTANT(group_threads, 4 * warp_threads);
CONSTANT(group_rows, 64);

// Bytes of one asynchronous copy.
CONSTANT(chunk_bytes, 16);

// Adjacent elements that a thread of an elementwise kernel reads and writes.
CONSTANT(group_size, 4);

// Element types chosen at run time.
CONSTANT(type_f32, 0);
CONSTANT(type_bf16, 1);
CONSTANT(type_f16, 2);
CONSTANT(type_f64, 3);
CONSTANT(type_i32, 4);
CONSTANT(type_i64, 5);
CONSTANT(type_bool, 6);

// The planes of a float32 element, float16 values whose sum it is (tile/planes.cuh).
CONSTANT(plane_count, 2);
