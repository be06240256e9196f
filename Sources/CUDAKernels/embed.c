#include "CUDAKernels.h"

// #embed takes no list of files, so each has its array here and its row in the table below.
// Package builds compile C as the compiler's default standard, in which #embed is an extension.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const char memory_cuh[] = {
#embed "tile/memory.cuh" suffix(, 0)
};
static const char matrix_cuh[] = {
#embed "tile/matrix.cuh" suffix(, 0)
};
static const char types_cuh[] = {
#embed "tile/types.cuh" suffix(, 0)
};
static const char mask_cuh[] = {
#embed "attention/mask.cuh" suffix(, 0)
};
static const char rows_cuh[] = {
#embed "attention/rows.cuh" suffix(, 0)
};
static const char softmax_cuh[] = {
#embed "attention/softmax.cuh" suffix(, 0)
};
static const char terms_cuh[] = {
#embed "attention/terms.cuh" suffix(, 0)
};
static const char lengths_cu[] = {
#embed "attention/lengths.cu" suffix(, 0)
};
static const char forward_cu[] = {
#embed "attention/forward.cu" suffix(, 0)
};
static const char backward_cuh[] = {
#embed "attention/backward.cuh" suffix(, 0)
};
static const char delta_cu[] = {
#embed "attention/delta.cu" suffix(, 0)
};
static const char backward_queries_cu[] = {
#embed "attention/backward_queries.cu" suffix(, 0)
};
static const char backward_keys_cu[] = {
#embed "attention/backward_keys.cu" suffix(, 0)
};

static const struct cuda_source sources[] = {
    {"tile/types.cuh", types_cuh, sizeof types_cuh - 1},
    {"tile/memory.cuh", memory_cuh, sizeof memory_cuh - 1},
    {"tile/matrix.cuh", matrix_cuh, sizeof matrix_cuh - 1},
    {"attention/mask.cuh", mask_cuh, sizeof mask_cuh - 1},
    {"attention/rows.cuh", rows_cuh, sizeof rows_cuh - 1},
    {"attention/softmax.cuh", softmax_cuh, sizeof softmax_cuh - 1},
    {"attention/terms.cuh", terms_cuh, sizeof terms_cuh - 1},
    {"attention/lengths.cu", lengths_cu, sizeof lengths_cu - 1},
    {"attention/forward.cu", forward_cu, sizeof forward_cu - 1},
    {"attention/backward.cuh", backward_cuh, sizeof backward_cuh - 1},
    {"attention/delta.cu", delta_cu, sizeof delta_cu - 1},
    {"attention/backward_queries.cu", backward_queries_cu, sizeof backward_queries_cu - 1},
    {"attention/backward_keys.cu", backward_keys_cu, sizeof backward_keys_cu - 1},
};

size_t cuda_source_count(void) { return sizeof sources / sizeof *sources; }

struct cuda_source cuda_source_at(size_t index) { return sources[index]; }
