#define _GNU_SOURCE
#include "CUDAInterface.h"

#include <dlfcn.h>
#include <stdio.h>

// Stores the address of `symbol` in `field`; on failure returns -1 and names the symbol in `reason`.
static int find(void *library, const char *path, const char *symbol, void *field, char *reason,
                size_t capacity) {
  void *address = dlsym(library, symbol);
  if (address == NULL) {
    snprintf(reason, capacity, "%s has no %s", path, symbol);
    return -1;
  }
  *(void **)field = address;
  return 0;
}

static void *open_library(const char *path, char *reason, size_t capacity) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    const char *error = dlerror();
    snprintf(reason, capacity, "%s", error == NULL ? "dlopen gives no reason" : error);
  }
  return library;
}

#define CUDA_FIND(field, symbol, parameters)                                                      \
  if (find(library, path, #symbol, &table->field, reason, capacity) != 0) return -1;

int cuda_open_driver(const char *path, struct cuda_driver *table, char *reason, size_t capacity) {
  void *library = open_library(path, reason, capacity);
  if (library == NULL) return -1;
  CUDA_DRIVER_FUNCTIONS(CUDA_FIND)
  return 0;
}

int cuda_open_compiler(const char *path, const char *companion, struct cuda_compiler *table,
                       char *reason, size_t capacity) {
  if (companion != NULL && open_library(companion, reason, capacity) == NULL) return -1;
  void *library = open_library(path, reason, capacity);
  if (library == NULL) return -1;
  CUDA_COMPILER_FUNCTIONS(CUDA_FIND)
  return find(library, path, "nvrtcGetErrorString", &table->nvrtcGetErrorString, reason, capacity);
}

int cuda_open_products(const char *path, struct cuda_products *table, char *reason, size_t capacity) {
  void *library = open_library(path, reason, capacity);
  if (library == NULL) return -1;
  CUDA_PRODUCT_FUNCTIONS(CUDA_FIND)
  if (find(library, path, "cublasLtGetVersion", &table->cublasLtGetVersion, reason, capacity) != 0) {
    return -1;
  }
  return find(library, path, "cublasLtGetStatusString", &table->cublasLtGetStatusString, reason,
              capacity);
}

int cuda_open_collectives(const char *path, struct cuda_collectives *table, char *reason,
                          size_t capacity) {
  void *library = open_library(path, reason, capacity);
  if (library == NULL) return -1;
  CUDA_COLLECTIVE_FUNCTIONS(CUDA_FIND)
  return find(library, path, "ncclGetErrorString", &table->ncclGetErrorString, reason, capacity);
}
