// Concurrent calls from many threads, each with its own errors.

#include <pthread.h>
#include <string.h>

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
    // A message is that of the thread's own error.
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
