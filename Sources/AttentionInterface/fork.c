#define _GNU_SOURCE
#include "interface_fork.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "interface_error.h"

// Calls hold the lock for reading, forks for writing. Writers are preferred, so that a fork gets its turn even
// among overlapping calls.
#ifdef PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
#define GATE PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
#else
#define GATE PTHREAD_RWLOCK_INITIALIZER
#endif

static pthread_rwlock_t gate = GATE;
// Whether this process was forked and has not yet made a call.
static int is_forked;
// Whether this thread is in a call. A thread that forks inside a call, for example when a library starts a
// program, cannot wait for itself.
static _Thread_local int is_inside;
// Whether this thread forked the process, so that Swift's runtime still has its identity in the parent.
static _Thread_local int is_from_parent;

// A call handed to a thread.
typedef struct {
  void (*forget_parent)(void);
  void (*body)(void *);
  void *context;
  // The error message that it leaves, to be freed.
  char *message;
} interface_call;

// The thread that runs the calls of the forked thread, of which a process has at most one.
#define SUBSTITUTE {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, NULL}
static struct substitute {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int is_running;
  // The call to run; NULL once it is done.
  interface_call *call;
} substitute = SUBSTITUTE;

static void before_fork(void) {
  if (!is_inside) pthread_rwlock_wrlock(&gate);
}

static void in_parent(void) {
  if (!is_inside) pthread_rwlock_unlock(&gate);
}

static void in_child(void) {
  // Threads that waited for the lock do not exist here, and neither does the parent's substitute.
  gate = (pthread_rwlock_t)GATE;
  substitute = (struct substitute)SUBSTITUTE;
  if (is_inside) pthread_rwlock_rdlock(&gate);
  is_from_parent = 1;
  __atomic_store_n(&is_forked, 1, __ATOMIC_RELAXED);
}

// On loading: at the first call it would be too late for a fork that has begun before it.
__attribute__((constructor)) static void watch_forks(void) {
  pthread_atfork(before_fork, in_parent, in_child);
}

static void run(const interface_call *call) {
  pthread_rwlock_rdlock(&gate);
  while (__atomic_load_n(&is_forked, __ATOMIC_RELAXED)) {
    // The first call in a forked process, exclusively.
    pthread_rwlock_unlock(&gate);
    pthread_rwlock_wrlock(&gate);
    if (__atomic_exchange_n(&is_forked, 0, __ATOMIC_RELAXED)) call->forget_parent();
    pthread_rwlock_unlock(&gate);
    pthread_rwlock_rdlock(&gate);
  }
  is_inside = 1;
  call->body(call->context);
  is_inside = 0;
  pthread_rwlock_unlock(&gate);
}

static void *substitute_runs(void *unused) {
  (void)unused;
  pthread_mutex_lock(&substitute.lock);
  while (1) {
    while (substitute.call == NULL) pthread_cond_wait(&substitute.changed, &substitute.lock);
    run(substitute.call);
    substitute.call->message = interface_take_error();
    substitute.call = NULL;
    pthread_cond_broadcast(&substitute.changed);
  }
}

// Runs a call on the substitute thread, which is started if necessary. Returns 0, or the error number.
static int run_apart(interface_call *call) {
  if (!substitute.is_running) {
    pthread_t thread;
    int failure = pthread_create(&thread, NULL, substitute_runs, NULL);
    if (failure != 0) return failure;
    pthread_detach(thread);
    substitute.is_running = 1;
  }
  pthread_mutex_lock(&substitute.lock);
  substitute.call = call;
  pthread_cond_broadcast(&substitute.changed);
  while (substitute.call != NULL) pthread_cond_wait(&substitute.changed, &substitute.lock);
  pthread_mutex_unlock(&substitute.lock);
  return 0;
}

int interface_run(void (*forget_parent)(void), void (*body)(void *), void *context) {
  interface_call call = {forget_parent, body, context, NULL};
  if (!is_from_parent) {
    run(&call);
    return 0;
  }
  int failure = run_apart(&call);
  if (failure != 0) {
    char text[160];
    snprintf(
        text, sizeof text, "no thread for a call of a process that was forked: %s", strerror(failure));
    interface_set_error(text);
    return failure;
  }
  if (call.message != NULL) interface_keep_error(call.message);
  return 0;
}
