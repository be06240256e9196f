// Faults between two file operations of a program: loaded before the C library (LD_PRELOAD), this counts the
// operations that change something below a folder, and kills the process at one of them, or lets one kind of
// them fail.
//
//   FAULT_FOLDER   the folder; the rest of the disk is not affected
//   FAULT_KILL_AT  SIGKILL instead of the operation with this number, counted from 1
//   FAULT_FAIL     "fsync": fsync of folders fails with EIO; "close": close of files open for appending
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_below(const char *path) {
  const char *folder = getenv("FAULT_FOLDER");
  return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

// The path of an open file; empty if it has none.
static const char *path_of(int file, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  path[length < 0 ? 0 : length] = 0;
  return path;
}

// The file of the last operation, if it was a write.
static atomic_int last_written = -1;

static void count(int is_there) {
  static atomic_int done;
  const char *at = getenv("FAULT_KILL_AT");
  atomic_store(&last_written, -1);
  if (is_there && at && atomic_fetch_add(&done, 1) + 1 == atoi(at)) kill(getpid(), SIGKILL);
}

static void count_path(const char *path) { count(is_below(path)); }

static void count_file(int file) {
  char path[PATH_MAX];
  count(is_below(path_of(file, path)));
}

// A path relative to an open folder.
static void count_at(int folder, const char *path) {
  if (folder == AT_FDCWD || path[0] == '/') count_path(path);
  else count_file(folder);
}

static int fails(int file, const char *kind, int is_kind) {
  char path[PATH_MAX];
  const char *wanted = getenv("FAULT_FAIL");
  return wanted && is_kind && strcmp(wanted, kind) == 0 && is_below(path_of(file, path));
}

#define OPEN(name)                                                    \
  int name(const char *path, int flags, ...) {                        \
    va_list rest;                                                     \
    va_start(rest, flags);                                            \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;         \
    va_end(rest);                                                     \
    if (flags & (O_CREAT | O_TRUNC)) count_path(path);                \
    return NEXT(name)(path, flags, mode);                             \
  }
OPEN(open)
OPEN(open64)

ssize_t write(int file, const void *bytes, size_t size) {
  // Consecutive writes to an unfinished file count as one operation.
  if (atomic_load(&last_written) != file) count_file(file);
  atomic_store(&last_written, file);
  return NEXT(write)(file, bytes, size);
}

int ftruncate(int file, off_t size) {
  count_file(file);
  return NEXT(ftruncate)(file, size);
}

int fsync(int file) {
  struct stat status;
  count_file(file);
  if (fails(file, "fsync", fstat(file, &status) == 0 && S_ISDIR(status.st_mode))) {
    errno = EIO;
    return -1;
  }
  return NEXT(fsync)(file);
}

int close(int file) {
  int failing = fails(file, "close", (fcntl(file, F_GETFL) & O_APPEND) != 0);
  int result = NEXT(close)(file);
  if (!failing) return result;
  errno = EIO;
  return -1;
}

int rename(const char *from, const char *to) {
  count_path(to);
  return NEXT(rename)(from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
  count_at(to_folder, to);
  return NEXT(renameat2)(from_folder, from, to_folder, to, flags);
}

int mkdir(const char *path, mode_t mode) {
  count_path(path);
  return NEXT(mkdir)(path, mode);
}

int unlink(const char *path) {
  count_path(path);
  return NEXT(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags) {
  count_at(folder, path);
  return NEXT(unlinkat)(folder, path, flags);
}

int rmdir(const char *path) {
  count_path(path);
  return NEXT(rmdir)(path);
}

int remove(const char *path) {
  count_path(path);
  return NEXT(remove)(path);
}
