// Invalid calls: a status and a message that names the argument, and nothing is computed.

#include <limits.h>
#include <math.h>
#include <string.h>

#include "check.h"

enum { n = 1, t = 4, h = 2, d = 8 };

static operand *q, *k, *v, *output, *sums;

// A valid call.
static sa_attention attention(void) {
  sa_attention call = {.size = sizeof call, .device = device, .stream = stream};
  call.queries = q->view, call.keys = k->view, call.values = v->view;
  call.output = output->view, call.log_sum_exp = sums->view;
  return call;
}

static void absent_and_malformed(void) {
  begin("tensors that are absent or malformed");
  refused("no call", sa_attention_forward(NULL), SA_INVALID_ARGUMENT, "call is NULL");
  sa_attention c = attention();
  c.size = 8;
  refused("a short struct", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "size is 8");
  c = attention();
  memset(&c.keys, 0, sizeof c.keys);
  refused("no keys", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "keys is absent");
  c = attention();
  memset(&c.output, 0, sizeof c.output);
  refused("no output", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "output is absent");
  c = attention();
  memset(&c.log_sum_exp, 0, sizeof c.log_sum_exp);
  succeeded("without log_sum_exp", sa_attention_forward(&c));
  refused("backward without", sa_attention_backward(&c), SA_INVALID_ARGUMENT, "log_sum_exp");
  c = attention();
  c.queries.data = NULL;
  refused("no data", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "data of queries is NULL");
  c = attention();
  c.queries.data = (char *)q->view.data + 1;
  refused("data off its place", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "multiple of 4");
  c = attention();
  c.queries.dtype = 7;
  refused("a dtype that is none", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "dtype of queries");
  c = attention();
  c.queries.dtype = -1;
  refused("a dtype below all", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "dtype of queries");
  c = attention();
  c.queries.rank = 5;
  refused("rank 5", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "rank of queries is 5");
  c = attention();
  c.queries.shape[1] = -3;
  refused("a negative extent", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "shape of queries");
  c = attention();
  c.queries.strides[3] = -1;
  refused("a negative stride", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "strides of queries");
  c = attention();
  c.queries.strides[1] = INT64_MAX / 2;
  refused("strides out of memory", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "strides is");
  c = attention();
  for (int axis = 0; axis < 4; axis++) c.queries.shape[axis] = INT64_MAX / 2;
  refused("a shape out of memory", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "shape is");
  c = attention();
  c.output.strides[1] = 0;
  refused("results at one place", sa_attention_forward(&c), SA_INVALID_ARGUMENT,
          "strides of output");
  c = attention();
  c.output.shape[1] = t - 1;
  refused("another output", sa_attention_forward(&c), SA_INVALID_ARGUMENT,
          "output is float32 [1, 3, 2, 8]");
}

static void values_that_do_not_fit(void) {
  begin("values that do not fit");
  sa_attention c = attention();
  c.device = -2;
  refused("a device that is none", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "device is -2");
  c = attention();
  c.keys.shape[3] = d - 1;
  refused("keys of another size", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "keys is");
  c = attention();
  c.similarity = 2;
  refused("a similarity that is none", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "similarity");
  c = attention();
  c.alignment = -1;
  refused("an alignment that is none", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "alignment");
  c = attention();
  c.has_window = 1, c.window_left = -2;
  refused("a window below 0", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "window left is -2");
  c = attention();
  c.has_scale = 1, c.scale = NAN;
  refused("a scale that is no number", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "scale is nan");
  c = attention();
  c.softcap = -1;
  refused("a negative softcap", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "softcap is -1");
  c = attention();
  c.similarity = SA_COSINE, c.groups = 3;
  refused("groups that do not divide", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "groups is 3");
  c = attention();
  c.bias_gradient = q->view;
  refused("a gradient of nothing", sa_attention_backward(&c), SA_INVALID_ARGUMENT,
          "bias_gradient is present");
  c = attention();
  c.bias = q->view;
  for (int axis = 0; axis < 4; axis++) c.bias.shape[axis] = 1, c.bias.strides[axis] = 0;
  c.bias.dtype = SA_BOOL;
  c.bias_gradient = c.bias;
  refused("a gradient of flags", sa_attention_backward(&c), SA_INVALID_ARGUMENT,
          "bias_gradient is present; it must be absent, as bias is bool");
  c = attention();
  c.queries_gradient = sums->view;
  refused("a gradient of another shape", sa_attention_backward(&c), SA_INVALID_ARGUMENT,
          "queries_gradient is float32 [1, 2, 4]");
  c = attention();
  c.kernel = "cpu.slow";
  refused("a kernel that is none", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "cpu.slow");
  c = attention();
  c.kernel = "cpu.tiled.bfloat16";
  refused("a kernel that objects", sa_attention_forward(&c), SA_NO_KERNEL, "cpu.tiled.bfloat16");
}

static void other_operators(void) {
  begin("linear attention and scans");
  sa_linear_attention c = {.size = sizeof c, .device = device, .stream = stream};
  c.queries = q->view, c.keys = k->view, c.values = v->view, c.output = output->view;
  c.low_rank_a = q->view;
  refused("half of low rank", sa_linear_attention_forward(&c), SA_INVALID_ARGUMENT, "low_rank_b");
  c.low_rank_b = c.read_keys = q->view;
  refused("two updates", sa_linear_attention_forward(&c), SA_INVALID_ARGUMENT, "one update");
  memset(&c.low_rank_a, 0, sizeof c.low_rank_a);
  memset(&c.low_rank_b, 0, sizeof c.low_rank_b);
  memset(&c.read_keys, 0, sizeof c.read_keys);
  c.decay = output->view;
  c.decay.shape[1] = t - 1;
  refused("a decay of another shape", sa_linear_attention_forward(&c), SA_INVALID_ARGUMENT, "decay");
  const int32_t falling[] = {0, 3, 2, t};
  memset(&c.decay, 0, sizeof c.decay);
  c.cumulative_lengths = integers(COUNT(falling), falling)->view;
  refused("lengths that fall", sa_linear_attention_forward(&c), SA_INVALID_ARGUMENT,
          "cumulativeLengths");
  sa_gated_scan s = {.size = sizeof s, .device = device, .stream = stream};
  s.inputs = sums->view;
  refused("no decay", sa_gated_scan_forward(&s), SA_INVALID_ARGUMENT, "decay is absent");
  s.decay = q->view;
  refused("another decay", sa_gated_scan_forward(&s), SA_INVALID_ARGUMENT, "decay is");
}

static void emptiness(void) {
  begin("no elements");
  sa_attention c = attention();
  c.queries.shape[1] = c.output.shape[1] = c.log_sum_exp.shape[2] = 0;
  c.queries.data = c.output.data = c.log_sum_exp.data = NULL;
  succeeded("no queries", sa_attention_forward(&c));
  sa_attention none = attention();
  none.keys.shape[1] = none.values.shape[1] = 0;
  none.keys.data = none.values.data = NULL;
  succeeded("no keys", sa_attention_forward(&none));
  // Strides have no meaning without elements.
  c.queries.strides[2] = c.output.strides[2] = INT64_MAX;
  succeeded("no queries, with strides out of memory", sa_attention_forward(&c));
  fetch(output);
  fetch(sums);
  for (int64_t i = 0; i < output->count; i++) {
    if (output->x[i] != 0) fail("element %d of the output is not 0", (int)i);
  }
  for (int64_t i = 0; i < sums->count; i++) {
    if (sums->x[i] != -INFINITY) fail("element %d of log_sum_exp is not -infinity", (int)i);
  }
}

static void questions(void) {
  begin("questions about calls that cannot be");
  size_t length;
  sa_attention c = attention();
  c.cumulative_lengths = (sa_tensor){.is_present = 1, .dtype = SA_INT32, .rank = 4};
  for (int axis = 0; axis < 4; axis++) c.cumulative_lengths.shape[axis] = 1 << 16;
  refused("lengths of rank 4", sa_attention_explain(&c, NULL, 0, &length), SA_INVALID_ARGUMENT,
          "shape is");
  c.cumulative_lengths.rank = 1;
  c.cumulative_lengths.shape[0] = 1 << 20;
  c.queries.shape[1] = (int64_t)1 << 44;
  refused("a length beyond all", sa_attention_explain(&c, NULL, 0, &length), SA_INVALID_ARGUMENT,
          "queries");
  if (device == SA_CPU) return;
  c = attention();
  // CU_STREAM_PER_THREAD
  c.stream = (void *)2;
  refused("a stream that is many", sa_attention_forward(&c), SA_INVALID_ARGUMENT, "stream");
}

void test_arguments(void) {
  q = random_operand(SA_FLOAT32, DENSE, -1, 1, 4, n, t, h, d);
  k = random_operand(SA_FLOAT32, DENSE, -1, 1, 4, n, t, h, d);
  v = random_operand(SA_FLOAT32, DENSE, -1, 1, 4, n, t, h, d);
  output = empty_operand(SA_FLOAT32, DENSE, 4, n, t, h, d);
  sums = empty_operand(SA_FLOAT32, DENSE, 3, n, h, t);
  sa_attention right = attention();
  succeeded("the call that is right", sa_attention_forward(&right));
  absent_and_malformed();
  values_that_do_not_fit();
  other_operators();
  emptiness();
  questions();
  release_memory();
}
