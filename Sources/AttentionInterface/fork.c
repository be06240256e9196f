#define _GNU_SOURCE
#include "interface_fork.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "interface_error.h"

// Calls read, forks write. Where calls follow each other without end, a fork still gets its turn.
#ifdef PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
#define GATE PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
#else
#define GATE PTHREAD_RWLOCK_INITIALIZER
#endif

static pthread_rwlock_t gate = GATE;
// Whether this process was forked, and no call has begun in it yet.
static int is_forked;
// Whether this thread is in a call. One that forks there, as a library does that starts a program, cannot
// wait for itself.
static _Thread_local int is_inside;
// Whether this thread was in the parent too, by another number.
static _Thread_local int is_from_parent;

// A call on its way to a thread.
typedef struct {
  void (*forget_parent)(void);
  void (*body)(void *);
  void *context;
  // What it leaves as that thread's message; to be freed.
  char *message;
} interface_call;

// The thread on which the calls of the thread from the parent run, of which a process has one at most.
#define SUBSTITUTE {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, NULL}
static struct substitute {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int is_running;
  // What it is to run; NULL when it has.
  interface_call *call;
} substitute = SUBSTITUTE;

static void before_fork(void) {
  if (!is_inside) pthread_rwlock_wrlock(&gate);
}

static void in_parent(void) {
  if (!is_inside) pthread_rwlock_unlock(&gate);
}

static void in_child(void) {
  // Threads that waited for the gate are not here to be let in, and the parent's substitute is not here.
  gate = (pthread_rwlock_t)GATE;
  substitute = (struct substitute)SUBSTITUTE;
  if (is_inside) pthread_rwlock_rdlock(&gate);
  is_from_parent = 1;
  __atomic_store_n(&is_forked, 1, __ATOMIC_RELAXED);
}

// When the library is loaded: with the first call it would be too late for a fork that has begun before it.
__attribute__((constructor)) static void watch_forks(void) {
  pthread_atfork(before_fork, in_parent, in_child);
}

static void run(const interface_call *call) {
  pthread_rwlock_rdlock(&gate);
  while (__atomic_load_n(&is_forked, __ATOMIC_RELAXED)) {
    // The first call of a process that was forked, alone.
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

// Runs a call on the substitute, which is started where there is none; 0, or why it cannot be.
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
