// Linear attention, forward and backward.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { b = 2, t = 19, h = 2, g = 4, k = 8, v = 12, packed = 3 };

typedef enum { ADDITIVE, BONUS, DELTA, GENERALIZED, LOW_RANK, UPDATES } update;
typedef enum { NO_DECAY, PER_HEAD, PER_TOKEN, PER_CHANNEL, DECAYS } decay_kind;

typedef struct {
  layout layout;
  update update;
  decay_kind decay;
  int is_packed, has_state, normalizes;
} flags;

// Boundaries of packed sequences; one is empty.
static const int32_t bounds[packed + 1] = {0, 7, 7, t};

typedef struct {
  flags flags;
  int batch, sequences;
  operand *q, *k, *v, *decay, *first, *second, *state;
  operand *output_gradient, *state_gradient;
  double output[b * t * g * v], final[packed * g * k * v];
} problem;

static double log_decay(const problem *p, int token, int head, int d) {
  switch (p->flags.decay) {
    case PER_HEAD: return p->decay->x[head];
    case PER_TOKEN: return p->decay->x[token * g + head];
    case PER_CHANNEL: return p->decay->x[(token * g + head) * k + d];
    default: return 0;
  }
}

// Element d of a query or key of dimension k, normalised if the call says so.
static double unit(const problem *p, const double *row, int d) {
  if (!p->flags.normalizes) return row[d];
  double sum = 1e-6;
  for (int i = 0; i < k; i++) sum += row[i] * row[i];
  return row[d] / sqrt(sum);
}

// One token of one head: the state, and the query's product with it.
static void step(const problem *p, int token, int head, double *state, double *read) {
  const double *q = p->q->x + (token * h + head / (g / h)) * k;
  const double *key = p->k->x + (token * h + head / (g / h)) * k;
  const double *value = p->v->x + (token * g + head) * v;
  int row = (token * g + head) * k;
  double before[k * v];
  memcpy(before, state, sizeof before);
  for (int d = 0; d < k; d++)
    for (int e = 0; e < v; e++) state[d * v + e] *= exp(log_decay(p, token, head, d));
  for (int e = 0; e < v; e++) {
    double written = value[e], erased = 0, low = 0;
    for (int d = 0; d < k; d++) {
      if (p->flags.update == DELTA) erased += state[d * v + e] * unit(p, key, d);
      if (p->flags.update == GENERALIZED) erased += state[d * v + e] * p->first->x[row + d];
      if (p->flags.update == LOW_RANK) low += before[d * v + e] * p->first->x[row + d];
    }
    written -= erased;
    if (p->flags.update == DELTA) written *= p->first->x[token * g + head];
    for (int d = 0; d < k; d++) {
      double write = unit(p, key, d) * written;
      if (p->flags.update == LOW_RANK) write += p->second->x[row + d] * low;
      double seen = state[d * v + e] + write;
      if (p->flags.update == BONUS) seen = before[d * v + e] + p->first->x[head * k + d] * write;
      read[e] += unit(p, q, d) / sqrt(k) * seen;
      state[d * v + e] += write;
    }
  }
}

static double loss(void *context) {
  problem *p = context;
  double total = 0;
  memset(p->output, 0, sizeof p->output);
  for (int n = 0; n < p->sequences; n++) {
    int first = p->flags.is_packed ? bounds[n] : n * t;
    int end = p->flags.is_packed ? bounds[n + 1] : (n + 1) * t;
    for (int head = 0; head < g; head++) {
      double *state = p->final + (n * g + head) * k * v;
      for (int i = 0; i < k * v; i++) {
        state[i] = p->state ? p->state->x[(n * g + head) * k * v + i] : 0;
      }
      for (int token = first; token < end; token++) {
        step(p, token, head, state, p->output + (token * g + head) * v);
      }
    }
  }
  for (int64_t i = 0; i < p->output_gradient->count; i++) {
    total += p->output[i] * p->output_gradient->x[i];
  }
  for (int64_t i = 0; i < p->state_gradient->count; i++) {
    total += p->final[i] * p->state_gradient->x[i];
  }
  return total;
}

static operand *random_decay(flags f, int batch) {
  switch (f.decay) {
    case PER_HEAD: return random_operand(SA_FLOAT32, DENSE, -0.5, 0, 1, g);
    case PER_TOKEN: return random_operand(SA_FLOAT32, f.layout, -0.5, 0, 3, batch, t, g);
    case PER_CHANNEL: return random_operand(SA_FLOAT32, f.layout, -0.5, 0, 4, batch, t, g, k);
    default: return NULL;
  }
}

static void run(flags f) {
  begin("linear, update %d, decay %d, layout %d%s%s%s on device %d", f.update, f.decay, f.layout,
        f.is_packed ? ", packed" : "", f.has_state ? ", initial state" : "",
        f.normalizes ? ", normalised" : "", device);
  problem *p = calloc(1, sizeof *p);
  int batch = f.is_packed ? 1 : b, n = f.is_packed ? packed : b;
  p->flags = f, p->batch = batch, p->sequences = n;
  sa_dtype dtype = SA_FLOAT32;
  p->q = random_operand(dtype, f.layout, -1, 1, 4, batch, t, h, k);
  p->k = random_operand(dtype, f.layout, -0.3, 0.3, 4, batch, t, h, k);
  p->v = random_operand(dtype, f.layout, -1, 1, 4, batch, t, g, v);
  p->decay = random_decay(f, batch);
  p->output_gradient = random_operand(dtype, f.layout, -1, 1, 4, batch, t, g, v);
  p->state_gradient = random_operand(dtype, DENSE, -1, 1, 4, n, g, k, v);
  sa_linear_attention call = {.size = sizeof call, .device = device, .stream = stream};
  call.queries = p->q->view, call.keys = p->k->view, call.values = p->v->view;
  call.normalizes = f.normalizes;
  if (p->decay) call.decay = p->decay->view;
  if (f.has_state) {
    p->state = random_operand(dtype, f.layout, -1, 1, 4, n, g, k, v);
    call.initial_state = p->state->view;
  }
  if (f.is_packed) call.cumulative_lengths = integers(packed + 1, bounds)->view;
  sa_tensor *first = NULL, *first_gradient = NULL;
  switch (f.update) {
    case BONUS:
      p->first = random_operand(dtype, DENSE, -1, 1, 2, g, k);
      first = &call.bonus, first_gradient = &call.bonus_gradient;
      break;
    case DELTA:
      p->first = random_operand(dtype, f.layout, 0, 2, 3, batch, t, g);
      first = &call.beta, first_gradient = &call.beta_gradient;
      break;
    case GENERALIZED:
      p->first = random_operand(dtype, f.layout, -0.3, 0.3, 4, batch, t, g, k);
      first = &call.read_keys, first_gradient = &call.read_keys_gradient;
      break;
    case LOW_RANK:
      p->first = random_operand(dtype, f.layout, -0.3, 0.3, 4, batch, t, g, k);
      p->second = random_operand(dtype, f.layout, -0.3, 0.3, 4, batch, t, g, k);
      first = &call.low_rank_a, first_gradient = &call.low_rank_a_gradient;
      call.low_rank_b = p->second->view;
      break;
    default: break;
  }
  if (first) *first = p->first->view;
  operand *output = empty_operand(dtype, f.layout, 4, batch, t, g, v);
  operand *final = empty_operand(dtype, f.layout, 4, n, g, k, v);
  call.output = output->view, call.final_state = final->view;
  succeeded("forward", sa_linear_attention_forward(&call));
  fetch(output);
  fetch(final);
  loss(p);
  close_to("output", output, p->output, 1e-5);
  close_to("final_state", final, p->final, 1e-5);

  call.output_gradient = p->output_gradient->view;
  call.final_state_gradient = p->state_gradient->view;
  gradient gradients[] = {
      {p->q, &call.queries_gradient, "queries_gradient", NULL},
      {p->k, &call.keys_gradient, "keys_gradient", NULL},
      {p->v, &call.values_gradient, "values_gradient", NULL},
      {p->decay, &call.decay_gradient, "decay_gradient", NULL},
      {p->first, first_gradient, "gradient of the update's first tensor", NULL},
      {p->second, &call.low_rank_b_gradient, "low_rank_b_gradient", NULL},
      {p->state, &call.initial_state_gradient, "initial_state_gradient", NULL},
  };
  place_gradients(gradients, COUNT(gradients));
  succeeded("backward", sa_linear_attention_backward(&call));
  compare_gradients(gradients, COUNT(gradients), loss, p, 1e-4);
  release_memory();
}

void test_linear(void) {
  // As for exact attention, to compile few kernels.
  if (device != SA_CPU) {
    run((flags){.update = DELTA, .decay = PER_TOKEN, .has_state = 1, .is_packed = 1});
    run((flags){.update = DELTA, .decay = PER_TOKEN, .has_state = 1, .layout = EXCHANGED});
    return;
  }
  for (update update = ADDITIVE; update < UPDATES; update++) {
    layout layout = (int)update % LAYOUTS;
    run((flags){.update = update, .layout = layout});
    run((flags){.update = update, .decay = PER_TOKEN, .has_state = 1, .is_packed = 1});
    run((flags){.update = update, .decay = PER_CHANNEL, .has_state = 1, .layout = EXCHANGED});
  }
  run((flags){.decay = PER_HEAD, .layout = GAPS});
  run((flags){.update = DELTA, .decay = PER_TOKEN, .normalizes = 1, .layout = GAPS});
}
