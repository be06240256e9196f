// A stand-in for NCCL: the emulator has one device, so there is nothing to reduce.

#define EXPORT __attribute__((visibility("default")))

enum { SUCCESS = 0 };

EXPORT int ncclGetVersion(int *version) {
  *version = 22703;
  return SUCCESS;
}

EXPORT const char *ncclGetErrorString(int result) {
  return result == SUCCESS ? "no error" : "the emulated library has no such function";
}
