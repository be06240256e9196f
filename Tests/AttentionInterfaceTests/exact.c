// Exact attention, forward and backward.

#include <math.h>
#include <stdlib.h>

#include "check.h"

enum { b = 2, t = 9, s = 13, h = 4, g = 2, k = 16, v = 24 };

typedef struct {
  sa_dtype dtype;
  layout layout;
  // Of the bias, if it differs from the others: SA_FLOAT32, which is 0, stands for theirs.
  sa_dtype bias_dtype;
  int is_causal, is_cosine, has_bias, has_mask, has_decay, has_sinks, has_scales;
} flags;

typedef struct {
  flags flags;
  int keys;
  operand *q, *k, *v, *bias, *mask, *scales, *decay, *sinks;
  operand *output_gradient, *sum_gradient;
  double output[b * t * h * v], sums[b * h * t];
} problem;

// Whether a bias is a mask.
static int is_mask(const operand *bias) { return bias->view.dtype == SA_BOOL; }

static double score(const problem *p, int n, int head, int i, int j) {
  const double *q = p->q->x + ((n * t + i) * h + head) * k;
  const double *y = p->k->x + ((n * p->keys + j) * g + head / (h / g)) * k;
  double dot = 0, qq = 0, yy = 0;
  for (int d = 0; d < k; d++) dot += q[d] * y[d], qq += q[d] * q[d], yy += y[d] * y[d];
  double scale = p->flags.is_cosine ? 8 / sqrt(qq * yy) : 1 / sqrt(k);
  if (p->scales) scale *= p->scales->x[head] * (p->flags.is_cosine ? 1.0 / 8 : sqrt(k));
  double x = scale * dot;
  if (p->bias && !is_mask(p->bias)) x += p->bias->x[head * p->keys + j];
  if (p->decay) {
    // c_i - c_j of the cumulative sums
    for (int m = 0; m <= i; m++) x += p->decay->x[(n * t + m) * h + head];
    for (int m = 0; m <= j; m++) x -= p->decay->x[(n * t + m) * h + head];
  }
  return x;
}

static int is_seen(const problem *p, int n, int head, int i, int j) {
  if (p->flags.is_causal && j > i + p->keys - t) return 0;
  if (p->bias && is_mask(p->bias) && p->bias->x[head * p->keys + j] == 0) return 0;
  return p->mask == NULL || p->mask->x[n * p->keys + j] != 0;
}

// The output and log-sum-exp, and the scalar whose gradients are propagated into them.
static double loss(void *context) {
  problem *p = context;
  double total = 0;
  for (int n = 0; n < b; n++)
    for (int head = 0; head < h; head++)
      for (int i = 0; i < t; i++) {
        double sum = p->sinks ? exp(p->sinks->x[head]) : 0, row[v] = {0};
        for (int j = 0; j < p->keys; j++) {
          if (!is_seen(p, n, head, i, j)) continue;
          double weight = exp(score(p, n, head, i, j));
          sum += weight;
          const double *values = p->v->x + ((n * p->keys + j) * g + head / (h / g)) * v;
          for (int d = 0; d < v; d++) row[d] += weight * values[d];
        }
        int place = (n * h + head) * t + i;
        p->sums[place] = log(sum);
        if (sum > 0) total += p->sums[place] * p->sum_gradient->x[place];
        for (int d = 0; d < v; d++) {
          int at = ((n * t + i) * h + head) * v + d;
          p->output[at] = sum > 0 ? row[d] / sum : 0;
          total += p->output[at] * p->output_gradient->x[at];
        }
      }
  return total;
}

static void run(flags f) {
  begin("exact, dtype %d, layout %d%s%s%s%s%s%s%s on device %d", f.dtype, f.layout,
        f.is_causal ? ", causal" : "", f.is_cosine ? ", cosine" : "", f.has_bias ? ", bias" : "",
        f.has_mask ? ", key mask" : "", f.has_decay ? ", decay" : "", f.has_sinks ? ", sinks" : "",
        f.has_scales ? ", a scale a head" : "", device);
  int keys = f.has_decay ? t : s;
  problem *p = calloc(1, sizeof *p);
  p->flags = f;
  p->keys = keys;
  p->q = random_operand(f.dtype, f.layout, -2, 2, 4, b, t, h, k);
  p->k = random_operand(f.dtype, f.layout, -2, 2, 4, b, keys, g, k);
  p->v = random_operand(f.dtype, f.layout, -1, 1, 4, b, keys, g, v);
  sa_attention call = {.size = sizeof call, .device = device, .stream = stream};
  call.queries = p->q->view, call.keys = p->k->view, call.values = p->v->view;
  call.is_causal = f.is_causal;
  call.similarity = f.is_cosine ? SA_COSINE : SA_DOT_PRODUCT;
  if (f.has_bias) {
    sa_dtype dtype = f.bias_dtype == SA_FLOAT32 ? f.dtype : f.bias_dtype;
    p->bias = random_operand(
        dtype, dtype == SA_BOOL ? DENSE : f.layout, -1, 1, 4, 1, h, 1, keys);
    char bytes[h * s];
    for (int j = 0; is_mask(p->bias) && j < h * keys; j++) p->bias->x[j] = bytes[j] = j % 3 != 1;
    if (is_mask(p->bias)) to_device(p->bias->view.data, bytes, (size_t)(h * keys));
    call.bias = p->bias->view;
  }
  if (f.has_mask) {
    p->mask = random_operand(SA_BOOL, DENSE, 0, 1, 2, b, keys);
    // The second row of the batch attends to nothing.
    for (int j = 0; j < b * keys; j++) p->mask->x[j] = j < keys && j % 3 != 0;
    char bytes[b * s];
    for (int j = 0; j < b * keys; j++) bytes[j] = (char)p->mask->x[j];
    to_device(p->mask->view.data, bytes, (size_t)(b * keys));
    call.key_mask = p->mask->view;
  }
  if (f.has_decay) {
    p->decay = random_operand(f.dtype, f.layout, -0.2, 0, 3, b, t, h);
    call.logit_decay = p->decay->view;
  }
  if (f.has_sinks) {
    p->sinks = random_operand(f.dtype, DENSE, -1, 1, 1, h);
    call.sinks = p->sinks->view;
  }
  if (f.has_scales) {
    p->scales = random_operand(f.dtype, DENSE, 0.2, 0.5, 1, h);
    call.head_scales = p->scales->view;
  }
  p->output_gradient = random_operand(f.dtype, f.layout, -1, 1, 4, b, t, h, v);
  p->sum_gradient = random_operand(SA_FLOAT32, DENSE, -1, 1, 3, b, h, t);
  operand *output = empty_operand(f.dtype, f.layout, 4, b, t, h, v);
  operand *sums = empty_operand(SA_FLOAT32, f.layout, 3, b, h, t);
  call.output = output->view, call.log_sum_exp = sums->view;
  succeeded("forward", sa_attention_forward(&call));
  fetch(output);
  fetch(sums);
  loss(p);
  int is_half = f.dtype == SA_BFLOAT16 || f.dtype == SA_FLOAT16;
  double bound = is_half ? 1e-2 : 1e-5, gradient_bound = is_half ? 2e-2 : 1e-4;
  close_to("output", output, p->output, bound);
  close_to("log_sum_exp", sums, p->sums, bound);

  call.output_gradient = p->output_gradient->view;
  call.log_sum_exp_gradient = p->sum_gradient->view;
  gradient gradients[] = {
      {p->q, &call.queries_gradient, "queries_gradient", NULL},
      {p->k, &call.keys_gradient, "keys_gradient", NULL},
      {p->v, &call.values_gradient, "values_gradient", NULL},
      {p->bias, &call.bias_gradient, "bias_gradient", NULL},
      {p->scales, &call.head_scales_gradient, "head_scales_gradient", NULL},
      {p->decay, &call.logit_decay_gradient, "logit_decay_gradient", NULL},
      {p->sinks, &call.sinks_gradient, "sinks_gradient", NULL},
  };
  place_gradients(gradients, COUNT(gradients));
  succeeded("backward", sa_attention_backward(&call));
  compare_gradients(gradients, COUNT(gradients), loss, p, gradient_bound);
  release_memory();
}

void test_exact(void) {
  for (layout layout = DENSE; layout < LAYOUTS; layout++) {
    // Every set of flags is another kernel to compile; their semantics are tested elsewhere.
    if (device != SA_CPU) {
      run((flags){.layout = layout, .dtype = SA_BFLOAT16, .is_causal = 1});
      continue;
    }
    run((flags){.layout = layout});
    run((flags){.layout = layout, .is_causal = 1, .has_bias = 1});
    run((flags){.layout = layout, .has_bias = 1, .bias_dtype = SA_BFLOAT16});
    run((flags){.layout = layout, .has_bias = 1, .bias_dtype = SA_BOOL, .has_mask = 1});
    run((flags){.layout = layout, .is_cosine = 1, .has_mask = 1});
    run((flags){.layout = layout, .has_decay = 1, .has_sinks = 1, .is_causal = 1});
    run((flags){.layout = layout, .has_scales = 1});
    run((flags){.layout = layout, .dtype = SA_BFLOAT16, .is_causal = 1});
    run((flags){.layout = layout, .dtype = SA_FLOAT16});
    run((flags){.layout = layout, .dtype = SA_FLOAT64, .has_bias = 1, .has_sinks = 1,
                .has_scales = 1});
  }
}
