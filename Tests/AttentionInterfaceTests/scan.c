// Gated scans, forward and backward.

#include <math.h>
#include <stdlib.h>

#include "check.h"

enum { b = 2, t = 37, d = 11, packed = 3 };

typedef struct {
  layout layout;
  int is_packed, has_state;
} flags;

static const int32_t bounds[packed + 1] = {0, 20, 20, t};

typedef struct {
  flags flags;
  int sequences;
  operand *inputs, *decay, *state, *output_gradient, *state_gradient;
  double output[b * t * d], final[packed * d];
} problem;

static double loss(void *context) {
  problem *p = context;
  double total = 0;
  for (int n = 0; n < p->sequences; n++) {
    int first = p->flags.is_packed ? bounds[n] : n * t;
    int end = p->flags.is_packed ? bounds[n + 1] : (n + 1) * t;
    for (int c = 0; c < d; c++) {
      double state = p->state ? p->state->x[n * d + c] : 0;
      for (int token = first; token < end; token++) {
        int at = token * d + c;
        state = exp(p->decay->x[at]) * state + p->inputs->x[at];
        p->output[at] = state;
        total += state * p->output_gradient->x[at];
      }
      p->final[n * d + c] = state;
      total += state * p->state_gradient->x[n * d + c];
    }
  }
  return total;
}

static void run(flags f) {
  begin("scan, layout %d%s%s on device %d", f.layout, f.is_packed ? ", packed" : "",
        f.has_state ? ", initial state" : "", device);
  problem *p = calloc(1, sizeof *p);
  int batch = f.is_packed ? 1 : b, n = f.is_packed ? packed : b;
  p->flags = f, p->sequences = n;
  p->inputs = random_operand(SA_FLOAT32, f.layout, -1, 1, 3, batch, t, d);
  p->decay = random_operand(SA_FLOAT32, f.layout, -1, 0, 3, batch, t, d);
  p->output_gradient = random_operand(SA_FLOAT32, f.layout, -1, 1, 3, batch, t, d);
  p->state_gradient = random_operand(SA_FLOAT32, DENSE, -1, 1, 2, n, d);
  sa_gated_scan call = {.size = sizeof call, .device = device, .stream = stream};
  call.inputs = p->inputs->view, call.decay = p->decay->view;
  if (f.has_state) {
    p->state = random_operand(SA_FLOAT32, f.layout, -1, 1, 2, n, d);
    call.initial_state = p->state->view;
  }
  if (f.is_packed) call.cumulative_lengths = integers(packed + 1, bounds)->view;
  operand *output = empty_operand(SA_FLOAT32, f.layout, 3, batch, t, d);
  operand *final = empty_operand(SA_FLOAT32, f.layout, 2, n, d);
  call.output = output->view, call.final_state = final->view;
  succeeded("forward", sa_gated_scan_forward(&call));
  fetch(output);
  fetch(final);
  loss(p);
  close_to("output", output, p->output, 1e-5);
  close_to("final_state", final, p->final, 1e-5);

  call.output_gradient = p->output_gradient->view;
  call.final_state_gradient = p->state_gradient->view;
  gradient gradients[] = {
      {p->inputs, &call.inputs_gradient, "inputs_gradient", NULL},
      {p->decay, &call.decay_gradient, "decay_gradient", NULL},
      {p->state, &call.initial_state_gradient, "initial_state_gradient", NULL},
  };
  place_gradients(gradients, COUNT(gradients));
  succeeded("backward", sa_gated_scan_backward(&call));
  compare_gradients(gradients, COUNT(gradients), loss, p, 1e-4);
  release_memory();
}

void test_scan(void) {
  for (layout layout = DENSE; layout < LAYOUTS; layout++) {
    run((flags){.layout = layout});
    run((flags){.layout = layout, .has_state = 1});
    run((flags){.layout = layout, .has_state = 1, .is_packed = 1});
  }
}
