// Calls from many threads at a time, each with its own errors; and calls of a process that was forked.

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { t = 96, h = 3, d = 32, rounds = 25, thread_count = 8 };

typedef struct {
  float queries[t * h * d], output[t * h * d];
  int number;
} task;

static sa_tensor view(float *x) {
  return (sa_tensor){.data = x,
                     .is_present = 1,
                     .rank = 4,
                     .shape = {1, t, h, d},
                     .strides = {t * h * d, h * d, d, 1}};
}

static sa_status compute(task *task) {
  sa_attention call = {.size = sizeof call, .device = SA_CPU, .is_causal = 1};
  call.queries = call.keys = call.values = view(task->queries);
  call.output = view(task->output);
  memset(task->output, 0xff, sizeof task->output);
  return sa_attention_forward(&call);
}

static void fill(task *task) {
  for (int i = 0; i < t * h * d; i++) task->queries[i] = (float)uniform(-1, 1);
}

static void *repeat(void *context) {
  task *own = context, first = *own;
  begin("thread %d", own->number);
  for (int round = 0; round < rounds; round++) {
    succeeded("forward", compute(own));
    if (memcmp(own->output, first.output, sizeof first.output) != 0) fail("other bits than alone");
    // A message is that of this thread's own mistake.
    sa_attention call = {.size = (uint32_t)own->number, .device = SA_CPU};
    char expected[32] = "size is ";
    expected[8] = (char)('0' + own->number);
    refused("a mistake", sa_attention_forward(&call), SA_INVALID_ARGUMENT, expected);
  }
  return NULL;
}

void test_threads(void) {
  static task tasks[thread_count];
  pthread_t threads[thread_count];
  begin("threads");
  for (int i = 0; i < thread_count; i++) {
    tasks[i].number = i;
    fill(&tasks[i]);
    succeeded("alone", compute(&tasks[i]));
  }
  for (int i = 0; i < thread_count; i++) {
    if (pthread_create(&threads[i], NULL, repeat, &tasks[i]) != 0) give_up("no thread");
  }
  for (int i = 0; i < thread_count; i++) pthread_join(threads[i], NULL);
}

// Whether a process that was forked from this one computes what this one does, in time.
static void child_computes(const task *reference) {
  enum { seconds = 20, wrong = 1 };
  pid_t child = fork();
  if (child < 0) give_up("no process");
  if (child == 0) {
    alarm(seconds);
    static task own;
    own = *reference;
    int is_right = 1;
    for (int round = 0; round < rounds; round++) {
      is_right &= compute(&own) == SA_OK;
      is_right &= memcmp(own.output, reference->output, sizeof own.output) == 0;
    }
    _exit(is_right ? 0 : wrong);
  }
  int status;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    fail(WTERMSIG(status) == SIGALRM ? "a child hangs" : "a child crashes");
  } else if (WEXITSTATUS(status) != 0) {
    fail("a child computes something else");
  }
}

static int is_done;

static void *keep_busy(void *context) {
  while (!__atomic_load_n(&is_done, __ATOMIC_ACQUIRE)) compute(context);
  return NULL;
}

void test_fork(void) {
  static task reference, others[2];
  fill(&reference);
  begin("a process forked after a call");
  succeeded("forward", compute(&reference));
  child_computes(&reference);
  begin("processes forked while other threads compute");
  pthread_t threads[COUNT(others)];
  for (size_t i = 0; i < COUNT(others); i++) {
    fill(&others[i]);
    if (pthread_create(&threads[i], NULL, keep_busy, &others[i]) != 0) give_up("no thread");
  }
  for (int round = 0; round < rounds; round++) child_computes(&reference);
  __atomic_store_n(&is_done, 1, __ATOMIC_RELEASE);
  for (size_t i = 0; i < COUNT(others); i++) pthread_join(threads[i], NULL);
  begin("the parent afterwards");
  succeeded("forward", compute(&reference));
}
