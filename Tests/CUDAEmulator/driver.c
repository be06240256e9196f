// A stand-in for NVIDIA's driver on a machine without a GPU: one device whose memory is the host's and whose
// kernels run on its CPU (device.h). Every call is synchronous.
//
// Every block of memory ends at an inaccessible page and is filled with ones when it is allocated; a kernel
// that accesses memory beyond it fails with an illegal address, as on a GPU. So that this covers every block,
// the package keeps no freed blocks, unless the environment says otherwise.

#define _GNU_SOURCE
#include "CUDAInterface.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  INVALID_IMAGE = 200,
  NOT_FOUND = 500,
  ILLEGAL_ADDRESS = 700,
  LAUNCH_FAILED = 719,
};

enum {
  PARAMETER_CAPACITY = 4096,
  MOST_THREADS = 1024,
  STACK_BYTES = 128 << 10,
  SHARED_BYTES = 227 << 10,
  ALIGNMENT = 16,
};

static const size_t memory_bytes = (size_t)8 << 30;
static const char *last_words = "";
// A failure persists, as a GPU's context is lost by it.
static int lost;

EXPORT int cuInit(unsigned flags) {
  (void)flags;
  setenv("ATTENTION_GPU_REUSE", "0", 0);
  return SUCCESS;
}
EXPORT int cuDriverGetVersion(int *version) {
  *version = 13000;
  return SUCCESS;
}
EXPORT int cuGetErrorName(int result, const char **name) {
  switch (result) {
    case INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case INVALID_IMAGE: *name = "CUDA_ERROR_INVALID_IMAGE"; break;
    case NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
    case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
    case LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    default: return INVALID_VALUE;
  }
  return SUCCESS;
}
EXPORT int cuGetErrorString(int result, const char **text) {
  (void)result;
  *text = last_words;
  return SUCCESS;
}
EXPORT int cuDeviceGetCount(int *count) {
  *count = 1;
  return SUCCESS;
}
EXPORT int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? SUCCESS : INVALID_VALUE;
}
EXPORT int cuDeviceGetName(char *name, int capacity, int device) {
  (void)device;
  snprintf(name, capacity, "an emulated GPU");
  return SUCCESS;
}
EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  (void)device;
  *bytes = memory_bytes;
  return SUCCESS;
}
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  const char *capability = getenv("CUDA_EMULATOR_CAPABILITY");
  int number = capability == NULL ? 90 : atoi(capability);
  switch (attribute) {
    case CUDA_CLOCK_KILOHERTZ: *value = 1980000; break;
    case CUDA_MULTIPROCESSORS: *value = 132; break;
    case CUDA_MEMORY_CLOCK_KILOHERTZ: *value = 3201000; break;
    case CUDA_MEMORY_BUS_BITS: *value = 6144; break;
    case CUDA_L2_BYTES: *value = 60 << 20; break;
    case CUDA_CAPABILITY_MAJOR: *value = number / 10; break;
    case CUDA_CAPABILITY_MINOR: *value = number % 10; break;
    case CUDA_SHARED_BYTES_PER_MULTIPROCESSOR: *value = 228 << 10; break;
    case CUDA_REGISTERS_PER_MULTIPROCESSOR: *value = 65536; break;
    case CUDA_SHARED_BYTES_PER_BLOCK: *value = SHARED_BYTES; break;
    case CUDA_MEMORY_POOLS: *value = 1; break;
    // Blocks run one after the other.
    case CUDA_COOPERATIVE_LAUNCH: *value = 0; break;
    default: last_words = "the emulator does not know this attribute"; return INVALID_VALUE;
  }
  return SUCCESS;
}
EXPORT int cuDeviceGetDefaultMemPool(CUmemoryPool *pool, int device) {
  (void)device;
  *pool = NULL;
  return SUCCESS;
}
EXPORT int cuMemPoolSetAttribute(CUmemoryPool pool, int name, void *value) {
  (void)pool, (void)name, (void)value;
  return SUCCESS;
}
// Meaningless to kernels here; callers find what they have set.
static _Thread_local CUcontext current_context;

EXPORT int cuDevicePrimaryCtxRetain(CUcontext *context, int device) {
  (void)device;
  static char primary;
  *context = (CUcontext)(void *)&primary;
  return SUCCESS;
}
EXPORT int cuCtxSetCurrent(CUcontext context) {
  current_context = context;
  return SUCCESS;
}
EXPORT int cuCtxGetCurrent(CUcontext *context) {
  *context = current_context;
  return SUCCESS;
}

// For tests: whether work went into a stream other than a given one, and how often the host waited.
static CUstream watched_stream;
static int is_watching, stray_count, wait_count;

static void note(CUstream stream) { stray_count += is_watching && stream != watched_stream; }

EXPORT void emulator_watch(CUstream stream) {
  watched_stream = stream;
  is_watching = 1;
  stray_count = wait_count = 0;
}
EXPORT int emulator_strays(void) { return stray_count; }
EXPORT int emulator_waits(void) { return wait_count; }

static size_t held_bytes;

EXPORT int cuMemGetInfo_v2(size_t *unused, size_t *total) {
  *unused = memory_bytes - held_bytes;
  *total = memory_bytes;
  return SUCCESS;
}

// Precedes the memory, in pages of its own, with what is needed to free it.
struct head {
  size_t mapped;
  size_t bytes;
};

static size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

EXPORT int cuMemAllocAsync(CUdeviceptr *address, size_t bytes, CUstream stream) {
  note(stream);
  if (lost) return lost;
  size_t step = page();
  if (bytes > memory_bytes - __atomic_load_n(&held_bytes, __ATOMIC_RELAXED)) return OUT_OF_MEMORY;
  size_t inner = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  size_t pages = (inner + step - 1) / step * step;
  size_t mapped = pages + 2 * step;
  unsigned char *base =
      mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return OUT_OF_MEMORY;
  unsigned char *memory = base + step + pages - inner;
  memset(memory, 0xff, inner);
  *(struct head *)base = (struct head){mapped, bytes};
  mprotect(base, step, PROT_READ);
  mprotect(base + mapped - step, step, PROT_NONE);
  __atomic_add_fetch(&held_bytes, bytes, __ATOMIC_RELAXED);
  *address = (CUdeviceptr)(uintptr_t)memory;
  return SUCCESS;
}
EXPORT int cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
  note(stream);
  size_t step = page();
  unsigned char *base = (unsigned char *)(uintptr_t)(address / step * step - step);
  struct head head = *(struct head *)base;
  __atomic_sub_fetch(&held_bytes, head.bytes, __ATOMIC_RELAXED);
  munmap(base, head.mapped);
  return SUCCESS;
}
EXPORT int cuMemAllocHost_v2(void **address, size_t bytes) {
  *address = malloc(bytes);
  return *address == NULL ? OUT_OF_MEMORY : SUCCESS;
}
EXPORT int cuMemFreeHost(void *address) {
  free(address);
  return SUCCESS;
}
EXPORT int cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void *source, size_t bytes, CUstream s) {
  note(s);
  if (lost) return lost;
  memcpy((void *)(uintptr_t)target, source, bytes);
  return SUCCESS;
}
EXPORT int cuMemcpyDtoHAsync_v2(void *target, CUdeviceptr source, size_t bytes, CUstream stream) {
  note(stream);
  if (lost) return lost;
  memcpy(target, (const void *)(uintptr_t)source, bytes);
  return SUCCESS;
}
EXPORT int cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, size_t bytes, CUstream s) {
  note(s);
  if (lost) return lost;
  memmove((void *)(uintptr_t)target, (const void *)(uintptr_t)source, bytes);
  return SUCCESS;
}
EXPORT int cuMemsetD8Async(CUdeviceptr target, unsigned char value, size_t bytes, CUstream stream) {
  note(stream);
  if (lost) return lost;
  memset((void *)(uintptr_t)target, value, bytes);
  return SUCCESS;
}

// Work is done when it is enqueued. Streams only have identities, so that a test can see which one is used.
EXPORT int cuStreamCreate(CUstream *stream, unsigned flags) {
  (void)flags;
  *stream = malloc(1);
  return *stream == NULL ? OUT_OF_MEMORY : SUCCESS;
}
EXPORT int cuStreamDestroy_v2(CUstream stream) {
  free(stream);
  return SUCCESS;
}
EXPORT int cuStreamSynchronize(CUstream stream) {
  note(stream);
  wait_count++;
  return lost;
}
EXPORT int cuStreamIsCapturing(CUstream stream, int *status) {
  note(stream);
  *status = 0;
  return SUCCESS;
}

EXPORT int cuEventCreate(CUevent *event, unsigned flags) {
  (void)flags;
  *event = calloc(1, sizeof(struct timespec));
  return *event == NULL ? OUT_OF_MEMORY : SUCCESS;
}
EXPORT int cuEventDestroy_v2(CUevent event) {
  free(event);
  return SUCCESS;
}
EXPORT int cuEventRecord(CUevent event, CUstream stream) {
  note(stream);
  clock_gettime(CLOCK_MONOTONIC, (struct timespec *)event);
  return lost;
}
EXPORT int cuEventQuery(CUevent event) {
  (void)event;
  return lost;
}
EXPORT int cuEventSynchronize(CUevent event) {
  (void)event;
  wait_count++;
  return lost;
}
EXPORT int cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  const struct timespec *a = (const struct timespec *)start, *b = (const struct timespec *)end;
  *milliseconds = (b->tv_sec - a->tv_sec) * 1e3f + (b->tv_nsec - a->tv_nsec) / 1e6f;
  return lost;
}

// A module is a library made by the emulated compiler; a function is an entry in it.
struct CUfunc_st {
  void *entry;
  const char *(*run)(void *, const void *, const unsigned *, unsigned, unsigned char *);
  void (*place)(unsigned *);
  unsigned shared_bytes;
  char name[64];
};
struct CUmod_st {
  void *library;
  struct CUfunc_st function;
};

EXPORT int cuModuleLoadData(CUmodule *module, const void *image) {
  // The library follows its size.
  size_t bytes;
  memcpy(&bytes, image, sizeof bytes);
  // The linker identifies a library by its path, so each needs its own.
  char path[] = "/tmp/emulated-module-XXXXXX";
  int file = mkstemp(path);
  if (file < 0) return OUT_OF_MEMORY;
  const int written = write(file, (const char *)image + sizeof bytes, bytes) == (ssize_t)bytes;
  close(file);
  void *library = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (written && library == NULL) last_words = strdup(dlerror());
  unlink(path);
  if (library == NULL) return INVALID_IMAGE;
  *module = calloc(1, sizeof **module);
  (*module)->library = library;
  return SUCCESS;
}
EXPORT int cuModuleUnload(CUmodule module) {
  dlclose(module->library);
  free(module);
  return SUCCESS;
}
EXPORT int cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  struct CUfunc_st *found = &module->function;
  found->entry = dlsym(module->library, name);
  *(void **)&found->run = dlsym(module->library, "emulator_run");
  *(void **)&found->place = dlsym(module->library, "emulator_place");
  // The default limit of a launch.
  found->shared_bytes = 48 << 10;
  snprintf(found->name, sizeof found->name, "%s", name);
  *function = found;
  return found->entry != NULL && found->run != NULL ? SUCCESS : NOT_FOUND;
}
EXPORT int cuFuncGetAttribute(int *value, int attribute, CUfunction function) {
  (void)attribute, (void)function;
  *value = 0;
  return SUCCESS;
}
EXPORT int cuFuncSetAttribute(CUfunction function, int attribute, int value) {
  if (attribute != CUDA_FUNCTION_DYNAMIC_SHARED_BYTES || value > SHARED_BYTES) return INVALID_VALUE;
  function->shared_bytes = (unsigned)value;
  return SUCCESS;
}

// The layout that tma.cuh reads.
struct tensor_map {
  uint64_t base, sizes[4], strides[3];
  uint32_t box[4], element_bytes, unused[7];
};

EXPORT int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *base,
                                  const uint64_t *sizes, const uint64_t *strides,
                                  const uint32_t *box, const uint32_t *steps, int interleave,
                                  int swizzle, int promotion, int fill) {
  const uint64_t most_stride = (uint64_t)1 << 40, most_size = (uint64_t)1 << 32;
  struct tensor_map made = {.base = (uint64_t)base, .element_bytes = 2};
  int is_right = (type == CUDA_MAP_BFLOAT16 || type == CUDA_MAP_FLOAT16) && rank == 4 &&
                 interleave == 0 && swizzle == CUDA_MAP_SWIZZLE_128 && promotion >= 0 && fill == 0 &&
                 (uint64_t)map % 64 == 0 && made.base % 16 == 0 && box[0] * made.element_bytes <= 128;
  for (int i = 0; i < 4; i++) {
    is_right &= sizes[i] > 0 && sizes[i] <= most_size && box[i] > 0 && box[i] <= 256 && steps[i] == 1;
    made.sizes[i] = sizes[i], made.box[i] = box[i];
  }
  for (int i = 0; i < 3; i++) {
    is_right &= strides[i] % 16 == 0 && strides[i] < most_stride;
    made.strides[i] = strides[i];
  }
  if (!is_right) return INVALID_VALUE;
  memcpy(map, &made, sizeof made);
  return SUCCESS;
}

static sigjmp_buf after_fault;
static void *fault_address;

static void on_fault(int signal, siginfo_t *information, void *context) {
  (void)signal, (void)context;
  fault_address = information->si_addr;
  siglongjmp(after_fault, 1);
}

static int fail(int code, const char *text) {
  last_words = strdup(text);
  lost = code;
  // For the person whose test fails.
  fprintf(stderr, "emulated GPU: %s\n", text);
  return code;
}

EXPORT int cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                          unsigned block_x, unsigned block_y, unsigned block_z,
                          unsigned shared_bytes, CUstream stream, void **parameters, void **extra) {
  static int busy;
  (void)extra;
  note(stream);
  if (lost) return lost;
  unsigned grid[3] = {grid_x, grid_y, grid_z};
  if (grid_x < 1 || grid_y < 1 || grid_z < 1 || grid_x > 0x7fffffff || grid_y > 65535 ||
      grid_z > 65535 || block_x < 1 || block_x > MOST_THREADS || block_y != 1 || block_z != 1 ||
      shared_bytes > function->shared_bytes) {
    last_words = "the grid, the block or its shared memory is out of bounds";
    return INVALID_VALUE;
  }
  // One kernel at a time, from any thread.
  while (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE)) usleep(100);
  static unsigned char *stacks;
  if (stacks == NULL) {
    stacks = mmap(NULL, (size_t)MOST_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  // Only the kernel knows the size of its parameters; memory may end after them.
  static _Alignas(64) unsigned char copy[PARAMETER_CAPACITY];
  struct iovec local = {copy, sizeof copy}, remote = {parameters[0], sizeof copy};
  process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

  struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER}, before[3];
  static const int signals[3] = {SIGSEGV, SIGBUS, SIGFPE};
  for (int i = 0; i < 3; i++) sigaction(signals[i], &fault, &before[i]);
  int result = SUCCESS;
  char text[256];
  if (sigsetjmp(after_fault, 1) == 0) {
    const char *failure = function->run(function->entry, copy, grid, block_x, stacks);
    if (failure != NULL) {
      unsigned place[4];
      function->place(place);
      snprintf(text, sizeof text, "%s: %s (block %u, %u, %u, thread %u)", function->name, failure,
               place[0], place[1], place[2], place[3]);
      result = fail(LAUNCH_FAILED, text);
    }
  } else {
    unsigned place[4];
    function->place(place);
    snprintf(text, sizeof text, "%s: illegal address %p (block %u, %u, %u, thread %u)",
             function->name, fault_address, place[0], place[1], place[2], place[3]);
    result = fail(ILLEGAL_ADDRESS, text);
  }
  for (int i = 0; i < 3; i++) sigaction(signals[i], &before[i], NULL);
  __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
  return result;
}
EXPORT int cuLaunchCooperativeKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                                     unsigned grid_z, unsigned block_x, unsigned block_y,
                                     unsigned block_z, unsigned shared_bytes, CUstream stream,
                                     void **parameters) {
  (void)function, (void)grid_x, (void)grid_y, (void)grid_z, (void)block_x, (void)block_y, (void)block_z;
  (void)shared_bytes, (void)stream, (void)parameters;
  last_words = "the emulator runs blocks one after the other";
  return INVALID_VALUE;
}
