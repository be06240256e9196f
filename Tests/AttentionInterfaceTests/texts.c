// Version, devices, explanations, and how text is returned.

#include <string.h>

#include "check.h"

static void has(const char *what, const char *text, const char *words) {
  if (strstr(text, words) == NULL) fail("%s is \"%s\", without \"%s\"", what, text, words);
}

static void explanations(void) {
  begin("explanations");
  sa_attention call = {.size = sizeof call, .device = SA_CPU};
  // Shapes alone: nothing is read.
  sa_tensor tokens = {.is_present = 1, .rank = 4, .shape = {2, 1 << 20, 8, 64}};
  call.queries = call.keys = call.values = tokens;
  char text[8192];
  size_t length;
  succeeded("explain", sa_attention_explain(&call, text, sizeof text, &length));
  has("the verdict", text, "cpu.tiled, the lowest estimate");
  has("the verdict", text, "cuda.flash");
  if (length != strlen(text)) fail("the length is %zu, not %zu", length, strlen(text));
  char start[6];
  succeeded("explain in little room", sa_attention_explain(&call, start, sizeof start, &length));
  if (strncmp(start, text, 5) != 0 || start[5] != 0) fail("little room has \"%.6s\"", start);
  if (length != strlen(text)) fail("little room changes the length");
  succeeded("explain in no room", sa_attention_explain(&call, NULL, 0, &length));
  refused("text NULL", sa_attention_explain(&call, NULL, 1, &length), SA_INVALID_ARGUMENT, "text");
  call.kernel = "cpu.decode";
  succeeded("a kernel that objects", sa_attention_explain(&call, text, sizeof text, NULL));
  has("its verdict", text, "no kernel");

  sa_linear_attention linear = {.size = sizeof linear, .device = SA_CPU, .needs_gradient = 1};
  linear.queries = linear.keys = linear.values = tokens;
  linear.queries.shape[0] = linear.keys.shape[0] = linear.values.shape[0] = 1;
  linear.cumulative_lengths =
      (sa_tensor){.is_present = 1, .dtype = SA_INT32, .rank = 1, .shape = {4}, .strides = {1}};
  succeeded("linear", sa_linear_attention_explain(&linear, text, sizeof text, &length));
  has("its verdict", text, "cuda.chunked");
  has("its verdict", text, "3 packed sequences");
  linear.device = 0;
  succeeded("linear on a GPU", sa_linear_attention_explain(&linear, text, sizeof text, &length));
  has("its verdict", text, "cuda.chunked");
  sa_gated_scan scan = {.size = sizeof scan, .device = SA_CPU};
  scan.inputs = (sa_tensor){.is_present = 1, .rank = 3, .shape = {1, 4096, 256}};
  scan.decay = scan.inputs;
  succeeded("scan", sa_gated_scan_explain(&scan, text, sizeof text, &length));
  has("its verdict", text, "cpu.scan");
}

void test_texts(void) {
  begin("versions and devices");
  if (sa_interface_version() != SA_INTERFACE_VERSION) fail("the interface's version differs");
  has("its header", sa_header(), "} sa_attention;");
  if (strchr(sa_version(), '.') == NULL) fail("the version is %s", sa_version());
  char text[256];
  succeeded("the processor", sa_device_description(SA_CPU, text, sizeof text, NULL));
  has("its description", text, "threads");
  refused("device 99", sa_device_description(-7, text, sizeof text, NULL), SA_INVALID_ARGUMENT,
          "device is -7");
  refused("no room for the count", sa_device_count(NULL), SA_INVALID_ARGUMENT, "count is NULL");
  int32_t count = -1;
  sa_status status = sa_device_count(&count);
  if (device == SA_CPU && status == SA_UNAVAILABLE) {
    has("what is missing", sa_error(), "libcuda");
    if (count != 0) fail("%d devices without a driver", count);
  } else {
    succeeded("devices", status);
    if (count < 1) fail("%d devices", count);
  }
  refused("threads below 0", sa_set_threads(-1), SA_INVALID_ARGUMENT, "count is -1");
  succeeded("one thread", sa_set_threads(1));
  has("one", (sa_device_description(SA_CPU, text, sizeof text, NULL), text), "1 thread");
  succeeded("all threads", sa_set_threads(0));
  explanations();
}
