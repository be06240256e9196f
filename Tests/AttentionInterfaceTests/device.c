// Memory on the device of calls: of the host, or of a GPU through its driver.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CUDAInterface.h"
#include "check.h"

int32_t device = SA_CPU;
void *stream = NULL;

static struct cuda_driver driver;
static CUcontext context;

// What an emulated GPU reports about its calls; NULL on a real one.
static struct {
  void (*watch)(CUstream stream);
  int (*strays)(void);
  int (*waits)(void);
} emulator;

static void call(const char *name, int result) {
  if (result != 0) give_up("%s gives %d", name, result);
}

void use_gpu(void) {
  char path[1024] = "libcuda.so.1", reason[1024];
  if (cuda_open_driver(path, &driver, reason, sizeof reason) != 0) {
    const char *home = getenv("CUDA_HOME");
    snprintf(path, sizeof path, "%s/lib64/libcuda.so.1", home == NULL ? "" : home);
    if (cuda_open_driver(path, &driver, reason, sizeof reason) != 0) give_up("%s", reason);
  }
  int gpu;
  call("cuInit", driver.cuInit(0));
  call("cuDeviceGet", driver.cuDeviceGet(&gpu, 0));
  call("cuDevicePrimaryCtxRetain", driver.cuDevicePrimaryCtxRetain(&context, gpu));
  call("cuCtxSetCurrent", driver.cuCtxSetCurrent(context));
  CUstream made;
  call("cuStreamCreate", driver.cuStreamCreate(&made, CUDA_STREAM_NON_BLOCKING));
  device = 0;
  stream = made;
  void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  *(void **)&emulator.watch = dlsym(library, "emulator_watch");
  *(void **)&emulator.strays = dlsym(library, "emulator_strays");
  *(void **)&emulator.waits = dlsym(library, "emulator_waits");
  if (emulator.watch != NULL) emulator.watch(made);
  // Calls must not leave a context behind: the thread has none of its own.
  call("cuCtxSetCurrent", driver.cuCtxSetCurrent(NULL));
}

void gpu_is_as_before(void) {
  CUcontext current;
  call("cuCtxGetCurrent", driver.cuCtxGetCurrent(&current));
  if (current != NULL) fail("the thread has another context than before");
  if (emulator.watch == NULL) return;
  if (emulator.strays() != 0) fail("%d pieces of work went into another stream", emulator.strays());
  if (emulator.waits() != 0) fail("%d times something was waited for", emulator.waits());
}

static _Thread_local struct block {
  struct block *next;
  void *memory;
} *blocks;

void *device_memory(size_t bytes) {
  struct block *block = malloc(sizeof *block);
  block->next = blocks;
  blocks = block;
  // Host memory is allocated exactly, so that memory checkers detect accesses beyond it.
  if (device == SA_CPU) return block->memory = malloc(bytes > 0 ? bytes : 1);
  CUdeviceptr address;
  call("cuCtxSetCurrent", driver.cuCtxSetCurrent(context));
  call("cuMemAllocAsync", driver.cuMemAllocAsync(&address, bytes > 0 ? bytes : 1, stream));
  call("cuCtxSetCurrent", driver.cuCtxSetCurrent(NULL));
  return block->memory = (void *)(uintptr_t)address;
}

void to_device(void *target, const void *source, size_t bytes) {
  if (device == SA_CPU) {
    memcpy(target, source, bytes);
    return;
  }
  call("cuCtxSetCurrent", driver.cuCtxSetCurrent(context));
  call("cuMemcpyHtoDAsync",
       driver.cuMemcpyHtoDAsync((CUdeviceptr)(uintptr_t)target, source, bytes, stream));
  call("cuCtxSetCurrent", driver.cuCtxSetCurrent(NULL));
}

void from_device(void *target, const void *source, size_t bytes) {
  if (device == SA_CPU) {
    memcpy(target, source, bytes);
    return;
  }
  gpu_is_as_before();
  call("cuCtxSetCurrent", driver.cuCtxSetCurrent(context));
  call("cuMemcpyDtoHAsync",
       driver.cuMemcpyDtoHAsync(target, (CUdeviceptr)(uintptr_t)source, bytes, stream));
  call("cuStreamSynchronize", driver.cuStreamSynchronize(stream));
  // This wait is the test's, not the library's.
  if (emulator.watch != NULL) emulator.watch(stream);
  call("cuCtxSetCurrent", driver.cuCtxSetCurrent(NULL));
}

void release_memory(void) {
  while (blocks != NULL) {
    struct block *block = blocks;
    blocks = block->next;
    if (device == SA_CPU) {
      free(block->memory);
    } else {
      call("cuCtxSetCurrent", driver.cuCtxSetCurrent(context));
      call("cuMemFreeAsync", driver.cuMemFreeAsync((CUdeviceptr)(uintptr_t)block->memory, stream));
      call("cuCtxSetCurrent", driver.cuCtxSetCurrent(NULL));
    }
    free(block);
  }
}
