// A stand-in for NVRTC that compiles kernels for this machine's CPU with clang: the sources unchanged, except
// for the headers with assembly, which have counterparts here.

#define _GNU_SOURCE
#include "CUDAInterface.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#pragma clang diagnostic ignored "-Wc23-extensions"

static const char device_h[] = {
#embed "device.h" suffix(, 0)
};
static const char instructions_cuh[] = {
#embed "instructions.cuh" suffix(, 0)
};
static const char tma_cuh[] = {
#embed "tma.cuh" suffix(, 0)
};
static const char wgmma_cuh[] = {
#embed "wgmma.cuh" suffix(, 0)
};

// The headers that replace the kernels' own.
static const struct {
  const char *name, *text;
} substitutes[] = {
    {"tile/instructions.cuh", instructions_cuh},
    {"tile/tma.cuh", tma_cuh},
    {"tile/wgmma.cuh", wgmma_cuh},
};
enum { SUBSTITUTES = sizeof substitutes / sizeof *substitutes };

enum { SUCCESS = 0, OUT_OF_MEMORY = 1, COMPILATION = 6, INTERNAL = 11, MOST_OPTIONS = 64 };

struct _nvrtcProgram {
  char folder[64];
  char source[PATH_MAX];
  char *code;
  size_t code_bytes;
  char *log;
};

// Hashes the files that kernels are built from, so that cached machine code never outlives them.
static unsigned hash_of(unsigned hash, const char *text) {
  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 16777619u;
  return hash;
}

static int edition(void) {
  unsigned hash = hash_of(2166136261u, device_h);
  for (int i = 0; i < SUBSTITUTES; i++) hash = hash_of(hash, substitutes[i].text);
  return hash & 0xffffff;
}

EXPORT int nvrtcVersion(int *major, int *minor) {
  *major = 0;
  *minor = edition();
  return SUCCESS;
}
static const int architectures[] = {80, 86, 90, 100};

EXPORT int nvrtcGetNumSupportedArchs(int *count) {
  *count = sizeof architectures / sizeof *architectures;
  return SUCCESS;
}
EXPORT int nvrtcGetSupportedArchs(int *list) {
  memcpy(list, architectures, sizeof architectures);
  return SUCCESS;
}
EXPORT const char *nvrtcGetErrorString(int result) {
  return result == COMPILATION ? "the kernel does not compile" : "the emulated compiler failed";
}

static int write_file(const char *folder, const char *name, const char *text) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
    *slash = 0;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) return INTERNAL;
    *slash = '/';
  }
  FILE *file = fopen(path, "w");
  if (file == NULL) return INTERNAL;
  fputs(text, file);
  return fclose(file) == 0 ? SUCCESS : INTERNAL;
}

static char *read_file(const char *folder, const char *name, size_t *bytes) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "r");
  if (file == NULL) return NULL;
  fseek(file, 0, SEEK_END);
  *bytes = ftell(file);
  rewind(file);
  char *text = calloc(1, *bytes + 1);
  if (fread(text, 1, *bytes, file) != *bytes) *bytes = 0;
  fclose(file);
  return text;
}

EXPORT int nvrtcCreateProgram(nvrtcProgram *program, const char *source, const char *name,
                              int header_count, const char *const *headers,
                              const char *const *header_names) {
  nvrtcProgram made = calloc(1, sizeof *made);
  *program = made;
  strcpy(made->folder, "/tmp/emulated-kernel-XXXXXX");
  if (mkdtemp(made->folder) == NULL) return INTERNAL;
  snprintf(made->source, sizeof made->source, "%s/%s", made->folder, name);
  int status = write_file(made->folder, name, source);
  for (int i = 0; i < header_count && status == SUCCESS; i++) {
    const char *text = headers[i];
    for (int j = 0; j < SUBSTITUTES; j++) {
      if (strcmp(header_names[i], substitutes[j].name) == 0) text = substitutes[j].text;
    }
    status = write_file(made->folder, header_names[i], text);
  }
  return status != SUCCESS ? status : write_file(made->folder, "device.h", device_h);
}
EXPORT int nvrtcDestroyProgram(nvrtcProgram *program) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", (*program)->folder);
  if (system(command) != 0) return INTERNAL;
  free((*program)->code);
  free((*program)->log);
  free(*program);
  *program = NULL;
  return SUCCESS;
}

EXPORT int nvrtcCompileProgram(nvrtcProgram program, int option_count, const char *const *options) {
  char prelude[128], library[128], log[128], include[128];
  snprintf(prelude, sizeof prelude, "%s/device.h", program->folder);
  snprintf(library, sizeof library, "%s/kernel.so", program->folder);
  snprintf(log, sizeof log, "%s/log", program->folder);
  snprintf(include, sizeof include, "-I%s", program->folder);
  const char *arguments[MOST_OPTIONS + 32] = {
      "clang++", "-x", "c++", "-std=c++17", "-O1", "-march=native", "-ffp-contract=off", "-fPIC",
      "-shared", "-Wl,-Bsymbolic", "-w", "-fno-exceptions", "-nostdinc", "-nostdlib++", "-include", prelude, include};
  int count = 17;
  for (int i = 0; i < option_count; i++) {
    if (strncmp(options[i], "-D", 2) == 0 && count < MOST_OPTIONS) arguments[count++] = options[i];
  }
  arguments[count++] = program->source;
  arguments[count++] = "-lm";
  arguments[count++] = "-o";
  arguments[count++] = library;
  arguments[count] = NULL;
  pid_t child = fork();
  if (child == 0) {
    if (freopen(log, "w", stderr) == NULL) _exit(126);
    execvp(arguments[0], (char *const *)arguments);
    perror("clang++");
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  size_t bytes = 0;
  program->log = read_file(program->folder, "log", &bytes);
  if (status != 0) return COMPILATION;
  char *text = read_file(program->folder, "kernel.so", &bytes);
  if (text == NULL) return INTERNAL;
  program->code_bytes = bytes + sizeof bytes;
  program->code = malloc(program->code_bytes);
  memcpy(program->code, &bytes, sizeof bytes);
  memcpy(program->code + sizeof bytes, text, bytes);
  free(text);
  return SUCCESS;
}
EXPORT int nvrtcGetProgramLogSize(nvrtcProgram program, size_t *bytes) {
  *bytes = program->log == NULL ? 1 : strlen(program->log) + 1;
  return SUCCESS;
}
EXPORT int nvrtcGetProgramLog(nvrtcProgram program, char *log) {
  strcpy(log, program->log == NULL ? "" : program->log);
  return SUCCESS;
}
EXPORT int nvrtcGetCUBINSize(nvrtcProgram program, size_t *bytes) {
  *bytes = program->code_bytes;
  return SUCCESS;
}
EXPORT int nvrtcGetCUBIN(nvrtcProgram program, char *cubin) {
  memcpy(cubin, program->code, program->code_bytes);
  return SUCCESS;
}
