#ifndef CUDA_INTERFACE_H
#define CUDA_INTERFACE_H

// The functions of NVIDIA's libraries that this package calls, as tables of typed pointers that are
// filled when a library is opened at run time. Nothing here needs CUDA's headers or libraries to
// build, and a program with these tables starts on machines that have neither.
//
// Names and signatures are those of the CUDA 12 and 13 headers; where a function has versions, the
// table's field has the plain name and open.c looks up the version that both have.

#include <stddef.h>
#include <stdint.h>

// Opaque handles of the driver, the compiler and cuBLASLt.
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUmemPoolHandle_st *CUmemoryPool;
typedef struct _nvrtcProgram *nvrtcProgram;
typedef struct cublasLtContext *cublasLtHandle;
typedef struct cublasLtMatmulDesc *cublasLtProduct;
typedef struct cublasLtMatrixLayout *cublasLtLayout;
typedef struct cublasLtMatmulPreference *cublasLtPreference;
typedef uint64_t CUdeviceptr;

// CUresult: 0 is success.
enum {
  CUDA_OUT_OF_MEMORY = 2,
  CUDA_NO_DEVICE = 100,
  CUDA_NOT_READY = 600,
};

// CUdevice_attribute: those that are read.
enum {
  CUDA_CLOCK_KILOHERTZ = 13,
  CUDA_MULTIPROCESSORS = 16,
  CUDA_MEMORY_CLOCK_KILOHERTZ = 36,
  CUDA_MEMORY_BUS_BITS = 37,
  CUDA_L2_BYTES = 38,
  CUDA_CAPABILITY_MAJOR = 75,
  CUDA_CAPABILITY_MINOR = 76,
  CUDA_SHARED_BYTES_PER_MULTIPROCESSOR = 81,
  CUDA_REGISTERS_PER_MULTIPROCESSOR = 82,
  CUDA_COOPERATIVE_LAUNCH = 95,
  CUDA_SHARED_BYTES_PER_BLOCK = 97,
  CUDA_MEMORY_POOLS = 115,
};

// CUfunction_attribute, CUmemPool_attribute, flags.
enum {
  CUDA_FUNCTION_LOCAL_BYTES = 3,
  CUDA_FUNCTION_REGISTERS = 4,
  CUDA_FUNCTION_DYNAMIC_SHARED_BYTES = 8,
  CUDA_POOL_RELEASE_THRESHOLD = 4,
  CUDA_STREAM_NON_BLOCKING = 1,
};

// CUtensorMapDataType, CUtensorMapSwizzle, CUtensorMapL2promotion.
enum {
  CUDA_MAP_FLOAT16 = 6,
  CUDA_MAP_BFLOAT16 = 9,
  CUDA_MAP_SWIZZLE_128 = 3,
  CUDA_MAP_PROMOTION_256 = 3,
};

// cudaDataType_t, cublasComputeType_t, cublasOperation_t: those that are used.
enum {
  CUDA_REAL_32 = 0,
  CUDA_REAL_64 = 1,
  CUDA_REAL_16 = 2,
  CUDA_REAL_BFLOAT16 = 14,
  CUDA_COMPUTE_32 = 68,
  CUDA_COMPUTE_64 = 70,
  CUDA_COMPUTE_TF32 = 77,
  CUDA_TRANSPOSE_NOT = 0,
  CUDA_TRANSPOSE = 1,
};

// cublasLtMatmulDescAttributes_t, cublasLtMatrixLayoutAttribute_t, cublasLtMatmulPreferenceAttributes_t,
// cublasLtReductionScheme_t.
enum {
  CUDA_PRODUCT_TRANSPOSE_A = 3,
  CUDA_PRODUCT_TRANSPOSE_B = 4,
  CUDA_LAYOUT_BATCH_COUNT = 5,
  CUDA_LAYOUT_BATCH_STRIDE = 6,
  CUDA_PREFERENCE_WORKSPACE_BYTES = 1,
  CUDA_PREFERENCE_REDUCTION_SCHEMES = 3,
  CUDA_PREFERENCE_ALIGNMENT_A = 5,
  CUDA_PREFERENCE_ALIGNMENT_B = 6,
  CUDA_PREFERENCE_ALIGNMENT_C = 7,
  CUDA_PREFERENCE_ALIGNMENT_D = 8,
  CUDA_REDUCTION_IN_COMPUTE_TYPE = 2,
};

// cublasLtMatmulHeuristicResult_t: an algorithm and its requirements.
struct cuda_product_choice {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

// One entry per function: field, exported name, parameters. Every function returns an int.
#define CUDA_DRIVER_FUNCTIONS(F)                                                                  \
  F(cuInit, cuInit, (unsigned flags))                                                             \
  F(cuDriverGetVersion, cuDriverGetVersion, (int *version))                                       \
  F(cuGetErrorName, cuGetErrorName, (int result, const char **name))                              \
  F(cuGetErrorString, cuGetErrorString, (int result, const char **text))                          \
  F(cuDeviceGetCount, cuDeviceGetCount, (int *count))                                             \
  F(cuDeviceGet, cuDeviceGet, (int *device, int ordinal))                                         \
  F(cuDeviceGetName, cuDeviceGetName, (char *name, int capacity, int device))                     \
  F(cuDeviceGetAttribute, cuDeviceGetAttribute, (int *value, int attribute, int device))          \
  F(cuDeviceTotalMem, cuDeviceTotalMem_v2, (size_t *bytes, int device))                           \
  F(cuDeviceGetDefaultMemPool, cuDeviceGetDefaultMemPool, (CUmemoryPool *pool, int device))       \
  F(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, (CUcontext *context, int device))         \
  F(cuCtxSetCurrent, cuCtxSetCurrent, (CUcontext context))                                        \
  F(cuCtxGetCurrent, cuCtxGetCurrent, (CUcontext *context))                                       \
  F(cuMemGetInfo, cuMemGetInfo_v2, (size_t *unused, size_t *total))                               \
  F(cuMemPoolSetAttribute, cuMemPoolSetAttribute, (CUmemoryPool pool, int name, void *value))     \
  F(cuMemAllocAsync, cuMemAllocAsync, (CUdeviceptr *address, size_t bytes, CUstream stream))      \
  F(cuMemFreeAsync, cuMemFreeAsync, (CUdeviceptr address, CUstream stream))                       \
  F(cuMemAllocHost, cuMemAllocHost_v2, (void **address, size_t bytes))                            \
  F(cuMemFreeHost, cuMemFreeHost, (void *address))                                                \
  F(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2,                                                      \
    (CUdeviceptr target, const void *source, size_t bytes, CUstream stream))                      \
  F(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2,                                                      \
    (void *target, CUdeviceptr source, size_t bytes, CUstream stream))                            \
  F(cuMemsetD8Async, cuMemsetD8Async,                                                             \
    (CUdeviceptr target, unsigned char value, size_t bytes, CUstream stream))                     \
  F(cuStreamCreate, cuStreamCreate, (CUstream *stream, unsigned flags))                           \
  F(cuStreamDestroy, cuStreamDestroy_v2, (CUstream stream))                                       \
  F(cuStreamSynchronize, cuStreamSynchronize, (CUstream stream))                                  \
  F(cuStreamIsCapturing, cuStreamIsCapturing, (CUstream stream, int *status))                     \
  F(cuEventCreate, cuEventCreate, (CUevent *event, unsigned flags))                               \
  F(cuEventDestroy, cuEventDestroy_v2, (CUevent event))                                           \
  F(cuEventRecord, cuEventRecord, (CUevent event, CUstream stream))                               \
  F(cuEventSynchronize, cuEventSynchronize, (CUevent event))                                      \
  F(cuEventElapsedTime, cuEventElapsedTime, (float *milliseconds, CUevent start, CUevent end))    \
  F(cuModuleLoadData, cuModuleLoadData, (CUmodule *module, const void *image))                    \
  F(cuModuleUnload, cuModuleUnload, (CUmodule module))                                            \
  F(cuModuleGetFunction, cuModuleGetFunction,                                                     \
    (CUfunction *function, CUmodule module, const char *name))                                    \
  F(cuFuncGetAttribute, cuFuncGetAttribute, (int *value, int attribute, CUfunction function))     \
  F(cuFuncSetAttribute, cuFuncSetAttribute, (CUfunction function, int attribute, int value))      \
  F(cuTensorMapEncodeTiled, cuTensorMapEncodeTiled,                                               \
    (void *map, int type, unsigned rank, void *base, const uint64_t *sizes,                       \
     const uint64_t *strides, const uint32_t *box, const uint32_t *steps, int interleave,         \
     int swizzle, int promotion, int fill))                                                       \
  F(cuLaunchKernel, cuLaunchKernel,                                                               \
    (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,    \
     unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream,                  \
     void **parameters, void **extra))                                                            \
  F(cuLaunchCooperativeKernel, cuLaunchCooperativeKernel,                                         \
    (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,    \
     unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream,                  \
     void **parameters))

#define CUDA_COMPILER_FUNCTIONS(F)                                                                \
  F(nvrtcVersion, nvrtcVersion, (int *major, int *minor))                                         \
  F(nvrtcGetNumSupportedArchs, nvrtcGetNumSupportedArchs, (int *count))                           \
  F(nvrtcGetSupportedArchs, nvrtcGetSupportedArchs, (int *architectures))                         \
  F(nvrtcCreateProgram, nvrtcCreateProgram,                                                       \
    (nvrtcProgram *program, const char *source, const char *name, int header_count,               \
     const char *const *headers, const char *const *header_names))                                \
  F(nvrtcDestroyProgram, nvrtcDestroyProgram, (nvrtcProgram *program))                            \
  F(nvrtcCompileProgram, nvrtcCompileProgram,                                                     \
    (nvrtcProgram program, int option_count, const char *const *options))                         \
  F(nvrtcGetProgramLogSize, nvrtcGetProgramLogSize, (nvrtcProgram program, size_t *bytes))        \
  F(nvrtcGetProgramLog, nvrtcGetProgramLog, (nvrtcProgram program, char *log))                    \
  F(nvrtcGetCUBINSize, nvrtcGetCUBINSize, (nvrtcProgram program, size_t *bytes))                  \
  F(nvrtcGetCUBIN, nvrtcGetCUBIN, (nvrtcProgram program, char *cubin))

#define CUDA_PRODUCT_FUNCTIONS(F)                                                                 \
  F(cublasLtCreate, cublasLtCreate, (cublasLtHandle *handle))                                     \
  F(cublasLtMatmulDescCreate, cublasLtMatmulDescCreate,                                           \
    (cublasLtProduct *product, int compute_type, int scale_type))                                 \
  F(cublasLtMatmulDescDestroy, cublasLtMatmulDescDestroy, (cublasLtProduct product))              \
  F(cublasLtMatmulDescSetAttribute, cublasLtMatmulDescSetAttribute,                               \
    (cublasLtProduct product, int name, const void *value, size_t bytes))                         \
  F(cublasLtMatrixLayoutCreate, cublasLtMatrixLayoutCreate,                                       \
    (cublasLtLayout *layout, int type, uint64_t rows, uint64_t columns, int64_t pitch))           \
  F(cublasLtMatrixLayoutDestroy, cublasLtMatrixLayoutDestroy, (cublasLtLayout layout))            \
  F(cublasLtMatrixLayoutSetAttribute, cublasLtMatrixLayoutSetAttribute,                           \
    (cublasLtLayout layout, int name, const void *value, size_t bytes))                           \
  F(cublasLtMatmulPreferenceCreate, cublasLtMatmulPreferenceCreate,                               \
    (cublasLtPreference *preference))                                                             \
  F(cublasLtMatmulPreferenceDestroy, cublasLtMatmulPreferenceDestroy,                             \
    (cublasLtPreference preference))                                                              \
  F(cublasLtMatmulPreferenceSetAttribute, cublasLtMatmulPreferenceSetAttribute,                   \
    (cublasLtPreference preference, int name, const void *value, size_t bytes))                   \
  F(cublasLtMatmulAlgoGetHeuristic, cublasLtMatmulAlgoGetHeuristic,                               \
    (cublasLtHandle handle, cublasLtProduct product, cublasLtLayout a, cublasLtLayout b,          \
     cublasLtLayout c, cublasLtLayout d, cublasLtPreference preference, int asked,                \
     struct cuda_product_choice *choices, int *found))                                            \
  F(cublasLtMatmul, cublasLtMatmul,                                                               \
    (cublasLtHandle handle, cublasLtProduct product, const void *alpha, CUdeviceptr a,            \
     cublasLtLayout a_layout, CUdeviceptr b, cublasLtLayout b_layout, const void *beta,           \
     CUdeviceptr c, cublasLtLayout c_layout, CUdeviceptr d, cublasLtLayout d_layout,              \
     const void *algorithm, CUdeviceptr workspace, size_t workspace_bytes, CUstream stream))

#define CUDA_COLLECTIVE_FUNCTIONS(F) F(ncclGetVersion, ncclGetVersion, (int *version))

#define CUDA_FIELD(field, symbol, parameters) int(*field) parameters;

// libcuda, the driver's library.
struct cuda_driver {
  CUDA_DRIVER_FUNCTIONS(CUDA_FIELD)
};

// libnvrtc, the run-time compiler.
struct cuda_compiler {
  CUDA_COMPILER_FUNCTIONS(CUDA_FIELD)
  const char *(*nvrtcGetErrorString)(int result);
};

// libcublasLt, matrix products.
struct cuda_products {
  CUDA_PRODUCT_FUNCTIONS(CUDA_FIELD)
  size_t (*cublasLtGetVersion)(void);
  const char *(*cublasLtGetStatusString)(int status);
};

// libnccl, collective operations over several devices.
struct cuda_collectives {
  CUDA_COLLECTIVE_FUNCTIONS(CUDA_FIELD)
  const char *(*ncclGetErrorString)(int result);
};

#undef CUDA_FIELD

// Opens the library at `path` (a name without a slash is resolved by the dynamic linker) and fills
// `table`. Returns 0, or -1 with a message of at most `capacity` bytes, terminator included, in
// `reason`. An opened library is never closed.
int cuda_open_driver(const char *path, struct cuda_driver *table, char *reason, size_t capacity);

// The same for the compiler. `companion` is the path of the library with its built-in functions. It
// is opened first because the compiler looks it up by name only; NULL if there is none.
int cuda_open_compiler(const char *path, const char *companion, struct cuda_compiler *table,
                       char *reason, size_t capacity);

// The same for matrix products.
int cuda_open_products(const char *path, struct cuda_products *table, char *reason, size_t capacity);

// The same for collective operations.
int cuda_open_collectives(const char *path, struct cuda_collectives *table, char *reason,
                          size_t capacity);

#endif
