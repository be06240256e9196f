// Calls in processes forked from this one: before its first call, after one, and while other threads make calls
// and fork.

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

// A call of many small pieces of work, each of which allocates and frees memory. Its threads, more than
// there are processors, contend for the library's locks.
enum { t = 8, h = 512, d = 4, thread_count = 8 };
enum { rounds = 25, children = 60, forkers = 3, callers = 2 };

typedef struct {
  float x[t * h * d];
} tokens;

static tokens input, expected;

static sa_tensor view(tokens *x) {
  return (sa_tensor){.data = x->x,
                     .is_present = 1,
                     .rank = 4,
                     .shape = {1, t, h, d},
                     .strides = {t * h * d, h * d, d, 1}};
}

static sa_status compute(tokens *output) {
  sa_attention call = {.size = sizeof call, .device = SA_CPU, .kernel = "cpu.tiled"};
  call.queries = call.keys = call.values = view(&input);
  call.output = view(output);
  memset(output, 0xff, sizeof *output);
  return sa_attention_forward(&call);
}

// The work of a child: every round gives `reference`, or without one the result of the first round, and an
// invalid call gives its message.
static int is_right(const tokens *reference) {
  static tokens first, own;
  sa_set_threads(thread_count);
  int right = compute(&first) == SA_OK;
  for (int round = 1; round < rounds; round++) {
    right &= compute(&own) == SA_OK;
    right &= memcmp(&own, reference == NULL ? &first : reference, sizeof own) == 0;
  }
  sa_attention mistake = {.size = 7, .device = SA_CPU};
  right &= sa_attention_forward(&mistake) == SA_INVALID_ARGUMENT;
  return right & (strstr(sa_error(), "size is 7") != NULL);
}

// Forks a process that computes, and returns how it ended, as waitpid reports it.
static int end_of_child(const tokens *reference) {
  enum { seconds = 30 };
  pid_t child = fork();
  if (child < 0) give_up("no process");
  if (child == 0) {
    alarm(seconds);
    _exit(is_right(reference) ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  return status;
}

static void check(int status) {
  if (WIFSIGNALED(status)) {
    fail(WTERMSIG(status) == SIGALRM ? "a child hangs" : "a child crashes");
  } else if (WEXITSTATUS(status) != 0) {
    fail("a child computes something else");
  }
}

// To be called before anything else, while the library is only loaded.
void test_fork_before_calls(void) {
  for (int i = 0; i < t * h * d; i++) input.x[i] = (float)(i % 101) / 101;
  begin("processes forked before any call");
  for (int i = 0; i < children; i++) check(end_of_child(NULL));
}

static int is_done;

static void *call_on(void *output) {
  while (!__atomic_load_n(&is_done, __ATOMIC_ACQUIRE)) compute(output);
  return NULL;
}

static void *fork_on(void *statuses) {
  for (int i = 0; i < children / forkers; i++) ((int *)statuses)[i] = end_of_child(&expected);
  return NULL;
}

void test_fork(void) {
  static tokens outputs[callers];
  int statuses[forkers][children / forkers];
  pthread_t calling[callers], forking[forkers];
  sa_set_threads(thread_count);
  begin("processes forked after a call");
  succeeded("forward", compute(&expected));
  for (int i = 0; i < children; i++) check(end_of_child(&expected));
  begin("processes forked by several threads while others call");
  for (int i = 0; i < callers; i++) {
    if (pthread_create(&calling[i], NULL, call_on, &outputs[i]) != 0) give_up("no thread");
  }
  for (int i = 0; i < forkers; i++) {
    if (pthread_create(&forking[i], NULL, fork_on, statuses[i]) != 0) give_up("no thread");
  }
  for (int i = 0; i < forkers; i++) pthread_join(forking[i], NULL);
  __atomic_store_n(&is_done, 1, __ATOMIC_RELEASE);
  for (int i = 0; i < callers; i++) pthread_join(calling[i], NULL);
  for (int i = 0; i < forkers; i++) {
    for (int j = 0; j < children / forkers; j++) check(statuses[i][j]);
  }
  begin("the parent afterwards");
  succeeded("forward", compute(&outputs[0]));
  if (memcmp(&outputs[0], &expected, sizeof expected) != 0) fail("other bits than before");
  sa_set_threads(0);
}
