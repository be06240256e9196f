#define _GNU_SOURCE
#include "interface_fork.h"

#include <pthread.h>

// Calls read, forks write. Where calls follow each other without end, a fork still gets its turn.
#ifdef PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
#define GATE PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
#else
#define GATE PTHREAD_RWLOCK_INITIALIZER
#endif

static pthread_rwlock_t gate = GATE;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int is_forked;
// Whether this thread is in a call. One that forks there, as a library does that starts a program, cannot
// wait for itself.
static _Thread_local int is_inside;

static void before_fork(void) {
  if (!is_inside) pthread_rwlock_wrlock(&gate);
}

static void in_parent(void) {
  if (!is_inside) pthread_rwlock_unlock(&gate);
}

static void in_child(void) {
  // Threads that waited for the gate are not here to be let in.
  gate = (pthread_rwlock_t)GATE;
  if (is_inside) pthread_rwlock_rdlock(&gate);
  __atomic_store_n(&is_forked, 1, __ATOMIC_RELAXED);
}

static void watch_forks(void) { pthread_atfork(before_fork, in_parent, in_child); }

void interface_enter(void (*forget_parent)(void)) {
  pthread_once(&once, watch_forks);
  pthread_rwlock_rdlock(&gate);
  while (__atomic_load_n(&is_forked, __ATOMIC_RELAXED)) {
    // The first call of a process that was forked, alone.
    pthread_rwlock_unlock(&gate);
    pthread_rwlock_wrlock(&gate);
    if (__atomic_exchange_n(&is_forked, 0, __ATOMIC_RELAXED)) forget_parent();
    pthread_rwlock_unlock(&gate);
    pthread_rwlock_rdlock(&gate);
  }
  is_inside = 1;
}

void interface_leave(void) {
  is_inside = 0;
  pthread_rwlock_unlock(&gate);
}
