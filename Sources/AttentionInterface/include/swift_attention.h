/// The C interface of swift-attention: exact attention, linear attention and gated scans, forward and
/// backward, on memory that the caller owns.
///
///     sa_attention call = {.size = sizeof call, .device = SA_CPU};
///     call.queries = ...; call.keys = ...; call.values = ...; call.output = ...;
///     if (sa_attention_forward(&call) != SA_OK) fprintf(stderr, "%s\n", sa_error());
///
/// A call is a struct. A field of zero bytes is absent or at its default, so initialise a struct with
/// zeros, then set its size and its device. Formulas and the meaning of each tensor are those of the
/// Swift operators `attention`, `linearAttention` and `gatedScan`; tensors of tokens are
/// [batch, length, heads, dimension].
///
/// Results must not overlap each other or the inputs in memory.
///
/// Nothing is printed, nothing ends the process, and no pointer is kept after a call. Calls may be made
/// from any thread. On a GPU the work is enqueued in the stream of the call: memory must stay allocated
/// until the stream has done it, as for any kernel.
#ifndef SWIFT_ATTENTION_H
#define SWIFT_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The version of this interface. It increases when a field is added at the end of a struct or a function
/// is added, for which older callers need only be compiled again; its hundreds increase with changes that need more.
#define SA_INTERFACE_VERSION 101

/// The SA_INTERFACE_VERSION that the library was built with.
int32_t sa_interface_version(void);

/// The library's version, such as "0.1.0".
const char *sa_version(void);

/// The text of this header as the library was built with it: for languages that read the layout of structs
/// when they load the library.
const char *sa_header(void);

// --- Errors

typedef enum sa_status {
  SA_OK = 0,
  /// An invalid argument: the message names it, what it was and what it must be.
  SA_INVALID_ARGUMENT = 1,
  /// No kernel, or not the requested one, supports the call: the message has every objection.
  SA_NO_KERNEL = 2,
  /// A driver, library or device is missing: the message says where it was looked for.
  SA_UNAVAILABLE = 3,
  SA_OUT_OF_MEMORY = 4,
  /// A call of the driver or the compiler failed: the message has its name and error text.
  SA_DEVICE_FAILURE = 5,
  /// Anything else.
  SA_FAILURE = 6,
} sa_status;

/// The message of this thread's last call that did not return SA_OK; valid until the thread's next call.
const char *sa_error(void);

// --- Tensors

typedef enum sa_dtype {
  SA_FLOAT32 = 0,
  SA_BFLOAT16 = 1,
  SA_FLOAT16 = 2,
  /// On the CPU only, by the reference kernel: for gradient checks.
  SA_FLOAT64 = 3,
  SA_INT32 = 4,
  SA_INT64 = 5,
  /// One byte, 0 or 1.
  SA_BOOL = 6,
} sa_dtype;

#define SA_MAX_RANK 4

/// Elements in memory of the call's device; absent if `data` is NULL and `is_present` is 0.
typedef struct sa_tensor {
  /// The first element. May be NULL if there are no elements.
  void *data;
  /// 1; 0 for an absent tensor.
  int32_t is_present;
  /// An sa_dtype.
  int32_t dtype;
  int32_t rank;
  /// In a call on a GPU: 1 for host memory, which is supported for cumulative lengths. A call waits for
  /// cumulative lengths on the GPU.
  int32_t is_on_host;
  int64_t shape[SA_MAX_RANK];
  /// In elements, not bytes; at least 0. A stride of 0 repeats an element, in inputs only.
  int64_t strides[SA_MAX_RANK];
} sa_tensor;

struct DLTensor;

/// The tensor that a DLTensor of DLPack (dlpack.h) describes, without its device.
sa_status sa_tensor_from_dlpack(const struct DLTensor *tensor, sa_tensor *result);

// --- Devices

/// The CPU, as the device of a call; GPUs are numbered from 0, as by the driver.
#define SA_CPU (-1)

/// The number of GPUs. If there are none, 0, and SA_UNAVAILABLE with a message that says what is missing.
sa_status sa_device_count(int32_t *count);

/// A one-line description of a device: its name, and for the CPU its instruction set. Writes at most
/// `capacity` bytes, terminating zero included; `length` is that of the whole text without it.
sa_status sa_device_description(int32_t device, char *text, size_t capacity, size_t *length);

/// Sets the number of threads of calls on the CPU; 0 is the number of processors that this process may run
/// on. Results do not depend on it.
sa_status sa_set_threads(int32_t count);

// --- Exact attention: O = softmax(s) V

typedef enum sa_similarity { SA_DOT_PRODUCT = 0, SA_COSINE = 1 } sa_similarity;

typedef enum sa_alignment {
  /// Query i is at key i + s - t: the last query at the last key.
  SA_BOTTOM_RIGHT = 0,
  /// Query i is at key i.
  SA_TOP_LEFT = 1,
} sa_alignment;

/// A call of exact attention, forward and backward.
typedef struct sa_attention {
  /// sizeof(sa_attention).
  uint32_t size;
  /// SA_CPU or a GPU's number.
  int32_t device;
  /// The CUstream that work is enqueued in; NULL is the default stream. Ignored on the CPU.
  void *stream;
  /// The name of the kernel to run; NULL for the fastest.
  const char *kernel;

  /// [b,t,h,k], [b,s,g,k], [b,s,g,v] of one floating-point dtype; g divides h.
  sa_tensor queries, keys, values;
  /// Added to the scores: rank 4, broadcast to [b,h,t,s]. An SA_BOOL bias is 1 where a key may be attended
  /// to, and has no gradient.
  sa_tensor bias;
  /// bool [b,s], 1 where a key may be attended to.
  sa_tensor key_mask;
  /// int32 [n+1]: n packed sequences, batch 1.
  sa_tensor cumulative_lengths;
  /// [h]: a scale per head, instead of `scale`.
  sa_tensor head_scales;
  /// [b,t,h], natural log: adds c_i - c_j to the scores, c the cumulative sum.
  sa_tensor logit_decay;
  /// [h]: one additional score per head in the softmax's sum.
  sa_tensor sinks;

  /// Multiplies the similarity if `has_scale`; otherwise the scale is 1/sqrt(k), or 8 for cosine similarity.
  double scale;
  /// s becomes c tanh(s/c); 0 for none.
  double softcap;
  /// An sa_similarity.
  int32_t similarity;
  int32_t has_scale;
  /// Cosine: the number of equal slices that are normalised; 0 means 1.
  int32_t groups;
  /// Cosine: whether queries and keys are already normalised.
  int32_t is_normalized;
  int32_t is_causal;
  /// An sa_alignment.
  int32_t alignment;
  /// Whether `window_left` and `window_right` limit the keys before and after a query; -1 is no limit.
  int32_t has_window;
  int32_t reserved;
  int64_t window_left, window_right;
  /// Subtracts 2^(-8(i+1)/h) |distance| from the scores of head i.
  int32_t has_alibi;
  /// Whether a GPU may round float32 operands of products to TF32 (11 bits).
  int32_t allows_tf32;
  /// Whether the backward pass will be called: then one kernel is chosen for both. Ignored backward.
  int32_t needs_gradient;
  int32_t reserved_end;

  /// Written forward, read backward: [b,t,h,v] in the inputs' dtype, and float32 [b,h,t], the natural
  /// logarithm of the softmax's sum. The latter is optional forward and required backward.
  sa_tensor output, log_sum_exp;

  /// Read backward; absent means zero.
  sa_tensor output_gradient, log_sum_exp_gradient;
  /// Written backward if present, in the shape and dtype of the inputs.
  sa_tensor queries_gradient, keys_gradient, values_gradient;
  sa_tensor bias_gradient, head_scales_gradient, logit_decay_gradient, sinks_gradient;
} sa_attention;

sa_status sa_attention_forward(const sa_attention *call);
sa_status sa_attention_backward(const sa_attention *call);

/// Which kernel would run and why not the others, as printed by `attention explain`. Nothing is computed,
/// and `data` of the tensors is not read, except for cumulative lengths in host memory: without them
/// sequences of equal lengths are assumed. The text is returned as by sa_device_description.
sa_status sa_attention_explain(
    const sa_attention *call, char *text, size_t capacity, size_t *length);

// --- Linear attention: S = exp(decay) S + k vᵀ and its relatives, o = scale Sᵀ q

/// A call of linear attention, forward and backward. The tensors present select the update: none the
/// additive one, `beta` the delta rule, `read_keys` the generalised delta rule, `low_rank_a` and
/// `low_rank_b` diagonal plus low rank, `bonus` the additive one read before the token.
typedef struct sa_linear_attention {
  /// sizeof(sa_linear_attention).
  uint32_t size;
  int32_t device;
  void *stream;
  const char *kernel;

  /// [b,t,h,k], [b,t,h,k], [b,t,g,v] of one floating-point dtype; h divides g.
  sa_tensor queries, keys, values;
  /// Natural log, at most 0: [g], [b,t,g] or [b,t,g,k].
  sa_tensor decay;
  /// [b,t,g]
  sa_tensor beta;
  /// [b,t,g,k]
  sa_tensor read_keys, low_rank_a, low_rank_b;
  /// [g,k]
  sa_tensor bonus;
  /// [n,g,k,v], n the batch or the number of packed sequences.
  sa_tensor initial_state;
  /// int32 [n+1]
  sa_tensor cumulative_lengths;

  /// Multiplies the queries if `has_scale`; otherwise the scale is 1/sqrt(k).
  double scale;
  int32_t has_scale;
  /// Whether each query and key x is replaced by x / sqrt(sum x² + 1e-6).
  int32_t normalizes;
  /// As in sa_attention.
  int32_t needs_gradient;
  int32_t reserved;

  /// Written forward: [b,t,g,v] in the queries' dtype, and [n,g,k,v] in float32 (float64 for float64
  /// inputs), which is optional.
  sa_tensor output, final_state;

  /// Read backward; absent means zero.
  sa_tensor output_gradient, final_state_gradient;
  /// Written backward if present, in the shape and dtype of the inputs.
  sa_tensor queries_gradient, keys_gradient, values_gradient, decay_gradient, beta_gradient;
  sa_tensor read_keys_gradient, low_rank_a_gradient, low_rank_b_gradient, bonus_gradient;
  sa_tensor initial_state_gradient;
} sa_linear_attention;

sa_status sa_linear_attention_forward(const sa_linear_attention *call);
sa_status sa_linear_attention_backward(const sa_linear_attention *call);
sa_status sa_linear_attention_explain(
    const sa_linear_attention *call, char *text, size_t capacity, size_t *length);

// --- Gated scan: h = exp(decay) h + inputs

/// A call of the gated scan, forward and backward.
typedef struct sa_gated_scan {
  /// sizeof(sa_gated_scan).
  uint32_t size;
  int32_t device;
  void *stream;
  const char *kernel;

  /// [b,t,d]; the decay is a natural log, at most 0.
  sa_tensor inputs, decay;
  /// [n,d], n the batch or the number of packed sequences.
  sa_tensor initial_state;
  /// int32 [n+1]
  sa_tensor cumulative_lengths;
  /// As in sa_attention.
  int32_t needs_gradient;
  int32_t reserved;

  /// Written forward, read backward: [b,t,d] in the inputs' dtype. Written forward if present: [n,d] in
  /// float32 (float64 for float64 inputs).
  sa_tensor output, final_state;

  /// Read backward; absent means zero.
  sa_tensor output_gradient, final_state_gradient;
  /// Written backward if present, in the shape and dtype of the inputs.
  sa_tensor inputs_gradient, decay_gradient, initial_state_gradient;
} sa_gated_scan;

sa_status sa_gated_scan_forward(const sa_gated_scan *call);
sa_status sa_gated_scan_backward(const sa_gated_scan *call);
sa_status sa_gated_scan_explain(
    const sa_gated_scan *call, char *text, size_t capacity, size_t *length);

#ifdef __cplusplus
}
#endif

#endif
