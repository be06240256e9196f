// Calls with fields set to invalid or extreme values. Any status is an answer; a trap, disproportionate memory
// or a failure without a message is not. The same calls in every run.

#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>

#include "check.h"

enum { ROUNDS = 30000 };

static uint64_t state;

static uint64_t below(uint64_t count) {
  // xorshift64*
  state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
  return (state * 0x2545F4914F6CDD1Dull >> 16) % count;
}

static int happens(int in) { return below(in) == 0; }

static int64_t extent(void) {
  static const int64_t extents[] = {
      0,       1,       2,       3,          4,          8,           16,          100,
      1 << 10, 1 << 20, 1 << 24, 1 << 30,    1ll << 31,  1ll << 32,   1ll << 40,   1ll << 48,
      (1ll << 48) + 1,  1ll << 58, 1ll << 60, 1ll << 61, INT64_MAX / 2, INT64_MAX, -1, INT64_MIN};
  return extents[below(COUNT(extents))];
}

static int32_t whole(void) {
  static const int32_t numbers[] = {0, 1, 2, 3, 7, 8, 100, -1, -2, INT_MAX, INT_MIN};
  return numbers[below(COUNT(numbers))];
}

static double real(void) {
  static const double numbers[] = {0, 1, -1, 0.125, 8, 1e-300, 1e300, -1e300, INFINITY, -INFINITY, NAN};
  return numbers[below(COUNT(numbers))];
}

static const char *kernel_name(void) {
  static const char *const names[] = {
      NULL,         NULL,       NULL,        "cpu.tiled",   "cpu.unfused", "cpu.reference", "cpu.decode",
      "cpu.chunked", "cpu.step", "cpu.split", "cpu.scan",    "cpu.blocked", "",              "\x1b[31m\xff"};
  return names[below(COUNT(names))];
}

// A tensor of small extents without data.
static sa_tensor described(int rank, const int64_t *shape) {
  sa_tensor tensor = {.is_present = 1, .rank = rank};
  int64_t stride = 1;
  for (int axis = rank - 1; axis >= 0; axis--) {
    tensor.shape[axis] = shape[axis], tensor.strides[axis] = stride;
    if (__builtin_mul_overflow(stride, shape[axis], &stride)) stride = 0;
  }
  return tensor;
}

static void mutate(sa_tensor *tensor) {
  switch (below(12)) {
    case 0: tensor->is_present = whole(); break;
    case 1: tensor->dtype = whole(); break;
    case 2: tensor->rank = whole(); break;
    case 3: tensor->is_on_host = whole(); break;
    case 4: tensor->strides[below(SA_MAX_RANK)] = extent(); break;
    default: tensor->shape[below(SA_MAX_RANK)] = extent();
  }
}

// Sets the same axis of several tensors to one extent, so that they still match.
static void stretch(sa_tensor *const *tensors, const int *axes, int count) {
  int64_t size = extent();
  for (int i = 0; i < count; i++) tensors[i]->shape[axes[i]] = size;
}

// Fails if a failed call gives no reason.
static void answered(sa_status status) {
  if (status != SA_OK && strlen(sa_error()) == 0) fail("status %d without a message", status);
  if (strchr(sa_error(), '\x1b') != NULL) fail("a message has an escape: %s", sa_error());
}

static void explained(sa_status status, const char *text, size_t length) {
  if (status == SA_OK && length == 0) fail("an explanation of no words: %s", text);
  answered(status);
}

static void exact_calls(void) {
  char text[64];
  for (int round = 0; round < ROUNDS; round++) {
    begin("fuzzed attention %d", round);
    sa_attention c = {.size = sizeof c, .device = SA_CPU};
    c.queries = described(4, (int64_t[]){1, 4, 2, 8});
    c.keys = described(4, (int64_t[]){1, 4, 2, 8});
    c.values = described(4, (int64_t[]){1, 4, 2, 8});
    if (happens(4)) c.bias = described(4, (int64_t[]){1, 2, 4, 4});
    if (happens(4)) c.key_mask = described(2, (int64_t[]){1, 4}), c.key_mask.dtype = SA_BOOL;
    if (happens(6)) c.head_scales = described(1, (int64_t[]){2});
    if (happens(6)) c.logit_decay = described(3, (int64_t[]){1, 4, 2});
    if (happens(6)) c.sinks = described(1, (int64_t[]){2});
    if (happens(8)) {
      c.cumulative_lengths = described(1, (int64_t[]){3});
      c.cumulative_lengths.dtype = SA_INT32;
    }
    sa_tensor *all[] = {&c.queries, &c.keys,        &c.values, &c.bias,
                        &c.key_mask, &c.head_scales, &c.logit_decay, &c.sinks};
    for (int i = below(4); i > 0; i--) {
      sa_tensor *batch[] = {&c.queries, &c.keys, &c.values, &c.bias, &c.key_mask, &c.logit_decay};
      sa_tensor *lengths[] = {&c.keys, &c.values, &c.bias, &c.key_mask};
      sa_tensor *heads[] = {&c.queries,     &c.keys,        &c.values, &c.bias,
                            &c.logit_decay, &c.head_scales, &c.sinks};
      switch (below(7)) {
        case 0: stretch(batch, (int[]){0, 0, 0, 0, 0, 0}, 6); break;
        case 1: stretch(lengths, (int[]){1, 1, 3, 1}, 4); break;
        case 2: stretch(heads, (int[]){2, 2, 2, 1, 2, 0, 0}, 7); break;
        case 3: c.queries.shape[1] = c.bias.shape[2] = extent(); break;
        case 4: c.values.shape[3] = extent(); break;
        case 5: stretch(all, (int[]){3, 3, 3}, 2); break;
        default: mutate(all[below(COUNT(all))]);
      }
    }
    c.similarity = happens(4) ? whole() : SA_DOT_PRODUCT;
    c.groups = happens(4) ? whole() : 0;
    c.is_normalized = happens(8), c.is_causal = happens(2);
    c.alignment = happens(4) ? whole() : 0;
    c.has_window = happens(4), c.window_left = extent(), c.window_right = extent();
    c.has_scale = happens(4), c.scale = real(), c.softcap = happens(8) ? real() : 0;
    c.has_alibi = happens(8), c.needs_gradient = happens(2);
    c.device = happens(16) ? whole() : SA_CPU;
    c.kernel = kernel_name();
    size_t length = 0;
    explained(sa_attention_explain(&c, text, happens(8) ? 0 : sizeof text, &length), text, length);
    // Without queries nothing is read or written.
    c.queries.shape[happens(2)] = 0;
    if (c.keys.shape[0] != 0) c.keys.shape[1] = c.values.shape[1] = 0;
    c.device = SA_CPU, c.output = c.queries, c.output.shape[3] = c.values.shape[3];
    memset(&c.bias, 0, sizeof c.bias), memset(&c.head_scales, 0, sizeof c.head_scales);
    memset(&c.sinks, 0, sizeof c.sinks), memset(&c.cumulative_lengths, 0, sizeof c.sinks);
    answered(sa_attention_forward(&c));
    const int64_t *q = c.queries.shape;
    c.log_sum_exp = described(3, (int64_t[]){q[0], q[2], q[1]});
    answered(sa_attention_backward(&c));
  }
}

static void linear_calls(void) {
  char text[64];
  for (int round = 0; round < ROUNDS; round++) {
    begin("fuzzed linear attention %d", round);
    sa_linear_attention c = {.size = sizeof c, .device = SA_CPU};
    c.queries = described(4, (int64_t[]){1, 4, 2, 8});
    c.keys = described(4, (int64_t[]){1, 4, 2, 8});
    c.values = described(4, (int64_t[]){1, 4, 2, 8});
    if (happens(2)) c.decay = described(1 + 2 * below(2), (int64_t[]){2, 4, 2});
    sa_tensor rows = described(4, (int64_t[]){1, 4, 2, 8});
    switch (below(6)) {
      case 0: c.beta = described(3, (int64_t[]){1, 4, 2}); break;
      case 1: c.read_keys = rows; break;
      case 2: c.low_rank_a = c.low_rank_b = rows; break;
      case 3: c.bonus = described(2, (int64_t[]){2, 8}); break;
    }
    if (happens(8)) c.initial_state = described(4, (int64_t[]){1, 2, 8, 8});
    sa_tensor *all[] = {&c.queries,   &c.keys,       &c.values,     &c.decay, &c.beta,
                        &c.read_keys, &c.low_rank_a, &c.low_rank_b, &c.bonus, &c.initial_state};
    for (int i = below(4); i > 0; i--) {
      switch (below(6)) {
        case 0: stretch(all, (int[]){0, 0, 0, 0, 0, 0, 0, 0}, 8); break;
        case 1: stretch(all, (int[]){1, 1, 1, 1, 1, 1, 1, 1}, 8); break;
        case 2: stretch(all, (int[]){2, 2, 2, 2, 2, 2, 2, 2}, 8); break;
        case 3: stretch(all, (int[]){3, 3}, 2); break;
        case 4: c.values.shape[3] = extent(); break;
        default: mutate(all[below(COUNT(all))]);
      }
    }
    c.has_scale = happens(4), c.scale = real();
    c.normalizes = happens(4), c.needs_gradient = happens(2);
    c.device = happens(16) ? whole() : SA_CPU;
    c.kernel = kernel_name();
    size_t length = 0;
    explained(sa_linear_attention_explain(&c, text, sizeof text, &length), text, length);
    c.queries.shape[1] = c.keys.shape[1] = c.values.shape[1] = 0;
    c.device = SA_CPU, c.output = c.values;
    memset(&c.decay, 0, sizeof c.decay), memset(&c.bonus, 0, sizeof c.bonus);
    memset(&c.initial_state, 0, sizeof c.initial_state);
    answered(sa_linear_attention_forward(&c));
    answered(sa_linear_attention_backward(&c));
  }
}

static void scan_calls(void) {
  char text[64];
  for (int round = 0; round < ROUNDS; round++) {
    begin("fuzzed scan %d", round);
    sa_gated_scan c = {.size = sizeof c, .device = SA_CPU};
    c.inputs = c.decay = described(3, (int64_t[]){1, 4, 8});
    if (happens(4)) c.initial_state = described(2, (int64_t[]){1, 8});
    sa_tensor *all[] = {&c.inputs, &c.decay, &c.initial_state};
    for (int i = below(3); i > 0; i--) {
      switch (below(4)) {
        case 0: stretch(all, (int[]){0, 0, 0}, 3); break;
        case 1: stretch(all, (int[]){1, 1}, 2); break;
        case 2: stretch(all, (int[]){2, 2, 1}, 3); break;
        default: mutate(all[below(COUNT(all))]);
      }
    }
    c.needs_gradient = happens(2), c.kernel = kernel_name();
    size_t length = 0;
    explained(sa_gated_scan_explain(&c, text, sizeof text, &length), text, length);
    c.inputs.shape[1] = c.decay.shape[1] = 0, c.output = c.inputs;
    memset(&c.initial_state, 0, sizeof c.initial_state);
    answered(sa_gated_scan_forward(&c));
    answered(sa_gated_scan_backward(&c));
  }
}

void test_fuzz(void) {
  state = 0x9E3779B97F4A7C15ull;
  exact_calls();
  linear_calls();
  scan_calls();
  begin("memory after fuzzing");
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const long most = 1 << 20;
  if (usage.ru_maxrss > most) fail("%ld KiB were held", usage.ru_maxrss);
}
