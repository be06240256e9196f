/// The C interface of swift-attention: exact attention, linear attention and gated scans, forward and
/// backward, on memory that the caller owns.
///
///     sa_attention call = {.size = sizeof call, .device = SA_CPU};
///     call.queries = ...; call.keys = ...; call.values = ...; call.output = ...;
///     if (sa_attention_forward(&call) != SA_OK) fprintf(stderr, "%s\n", sa_error());
///
/// A call is a struct. A field that is all zero bytes is absent or at its default, so a struct is
/// begun with zeros, its size and its device. What each tensor means, and the formulas, are those of
/// the Swift operators `attention`, `linearAttention` and `gatedScan`; tensors of tokens are
/// [batch, length, heads, dimension].
///
/// Memory that results are written to overlaps neither each other nor what the call reads.
///
/// Nothing is printed, nothing ends the process, and no pointer is kept after a call. Calls may come
/// from any thread. On a GPU the work is queued in the stream of the call: memory must live until the
/// stream has done it, as for any kernel.
#ifndef SWIFT_ATTENTION_H
#define SWIFT_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The version of this interface. It grows when a field or function is added at an end, which does not
/// break callers of an older one; when something is changed, its hundreds grow, and it does.
#define SA_INTERFACE_VERSION 100

/// The version of the interface that the library has, as SA_INTERFACE_VERSION.
int32_t sa_interface_version(void);

/// The library's version, as "0.1.0".
const char *sa_version(void);

// --- Errors

typedef enum sa_status {
  SA_OK = 0,
  /// An argument cannot be what it is: the message names it, what it was and what it must be.
  SA_INVALID_ARGUMENT = 1,
  /// No kernel, or not the one asked for, does this: the message has every objection.
  SA_NO_KERNEL = 2,
  /// A driver, library or device is not there: the message says where it was looked for.
  SA_UNAVAILABLE = 3,
  SA_OUT_OF_MEMORY = 4,
  /// The driver or a compiler refused: the message has the call's name and its words.
  SA_DEVICE_FAILURE = 5,
  /// Anything else.
  SA_FAILURE = 6,
} sa_status;

/// What went wrong in the last call of this thread that did not return SA_OK; valid until this
/// thread's next call.
const char *sa_error(void);

// --- Tensors

typedef enum sa_dtype {
  SA_FLOAT32 = 0,
  SA_BFLOAT16 = 1,
  SA_FLOAT16 = 2,
  /// On the processor, by the reference: for checks of gradients.
  SA_FLOAT64 = 3,
  SA_INT32 = 4,
  SA_INT64 = 5,
  /// One byte, 0 or 1.
  SA_BOOL = 6,
} sa_dtype;

#define SA_MAX_RANK 4

/// Elements in memory of the call's device; absent where `data` is NULL and `is_present` is 0.
typedef struct sa_tensor {
  /// The first element. NULL is fine where there are no elements.
  void *data;
  /// 1; 0 for an absent tensor.
  int32_t is_present;
  /// An sa_dtype.
  int32_t dtype;
  int32_t rank;
  /// In a call on a GPU: 1 for memory of the processor, which cumulative lengths may be in. Those that
  /// are on the GPU are waited for.
  int32_t is_on_host;
  int64_t shape[SA_MAX_RANK];
  /// In elements, not bytes; at least 0, and 0 repeats what is read (never what is written).
  int64_t strides[SA_MAX_RANK];
} sa_tensor;

struct DLTensor;

/// The tensor that a DLTensor of DLPack (dlpack.h) describes, without its device.
sa_status sa_tensor_from_dlpack(const struct DLTensor *tensor, sa_tensor *result);

// --- Devices

/// The processor, as the device of a call; GPUs are numbered from 0 as the driver numbers them.
#define SA_CPU (-1)

/// How many GPUs there are. Where there are none, 0 and SA_UNAVAILABLE with what is missing.
sa_status sa_device_count(int32_t *count);

/// A line about a device: its name, and for the processor its instruction set. Writes at most
/// `capacity` bytes with the ending zero; `length` is that of the whole text without it.
sa_status sa_device_description(int32_t device, char *text, size_t capacity, size_t *length);

/// How many threads calls on the processor use; 0 for as many as this process may run on. Results do not
/// depend on it.
sa_status sa_set_threads(int32_t count);

// --- Exact attention: O = softmax(s) V

typedef enum sa_similarity { SA_DOT_PRODUCT = 0, SA_COSINE = 1 } sa_similarity;

typedef enum sa_alignment {
  /// Query i stands at key i + s - t: the last at the last.
  SA_BOTTOM_RIGHT = 0,
  /// Query i stands at key i.
  SA_TOP_LEFT = 1,
} sa_alignment;

/// Exact attention of one call, forward and backward.
typedef struct sa_attention {
  /// sizeof(sa_attention).
  uint32_t size;
  /// SA_CPU or a GPU's number.
  int32_t device;
  /// The CUstream that the work goes into; NULL is the default stream. Not read on the processor.
  void *stream;
  /// The name of the kernel to run; NULL for the fastest.
  const char *kernel;

  /// [b,t,h,k], [b,s,g,k], [b,s,g,v] of one floating-point dtype; g divides h.
  sa_tensor queries, keys, values;
  /// Added to the scores: anything of rank 4 that broadcasts to [b,h,t,s]. Of SA_BOOL, 1 where a key may
  /// be attended; then it has no gradient.
  sa_tensor bias;
  /// bool [b,s], 1 where a key may be attended.
  sa_tensor key_mask;
  /// int32 [n+1]: n packed sequences, batch 1.
  sa_tensor cumulative_lengths;
  /// [h]: a scale for each head, in place of `scale`.
  sa_tensor head_scales;
  /// [b,t,h], natural log: adds c_i - c_j, c the running sum.
  sa_tensor logit_decay;
  /// [h]: one more logit in the softmax's sum.
  sa_tensor sinks;

  /// Multiplies the similarity where `has_scale`; else 1/sqrt(k), of cosine similarity 8.
  double scale;
  /// s becomes c tanh(s/c); 0 for none.
  double softcap;
  /// An sa_similarity.
  int32_t similarity;
  int32_t has_scale;
  /// Cosine: equal slices that are normalised; 0 is 1.
  int32_t groups;
  /// Cosine: whether queries and keys are normalised already.
  int32_t is_normalized;
  int32_t is_causal;
  /// An sa_alignment.
  int32_t alignment;
  /// Whether `window_left` and `window_right` say how far a query sees; -1 is all.
  int32_t has_window;
  int32_t reserved;
  int64_t window_left, window_right;
  /// Subtracts 2^(-8(i+1)/h) |distance| for head i.
  int32_t has_alibi;
  /// Whether a GPU may round float32 to TF32 (11 bits) in products.
  int32_t allows_tf32;
  /// Whether gradients will be asked for: the kernel of both passes is chosen for it. Not read backward.
  int32_t needs_gradient;
  int32_t reserved_end;

  /// Written forward, read backward: [b,t,h,v] in the inputs' dtype, and float32 [b,h,t], the natural
  /// logarithm of the softmax's sum. The latter may be absent forward, and is needed backward.
  sa_tensor output, log_sum_exp;

  /// Read backward; absent is zero.
  sa_tensor output_gradient, log_sum_exp_gradient;
  /// Written backward where present, in the shape and dtype of what they are the gradients of.
  sa_tensor queries_gradient, keys_gradient, values_gradient;
  sa_tensor bias_gradient, head_scales_gradient, logit_decay_gradient, sinks_gradient;
} sa_attention;

sa_status sa_attention_forward(const sa_attention *call);
sa_status sa_attention_backward(const sa_attention *call);

/// Which kernel would run and why not the others, as `attention explain` prints it; nothing is
/// computed, and `data` of the tensors is not read, but for cumulative lengths in memory of the
/// processor: without them sequences of equal lengths are taken. As sa_device_description writes.
sa_status sa_attention_explain(
    const sa_attention *call, char *text, size_t capacity, size_t *length);

// --- Linear attention: S = exp(decay) S + k vᵀ and its relatives, o = scale Sᵀ q

/// Linear attention of one call, forward and backward. The update is chosen by the tensors that are
/// present: none is additive, `beta` the delta rule, `read_keys` the generalised delta rule,
/// `low_rank_a` and `low_rank_b` diagonal plus low rank, `bonus` additive read before the token.
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

  /// Multiplies the queries where `has_scale`; else 1/sqrt(k).
  double scale;
  int32_t has_scale;
  /// Whether each query and key x is replaced by x / sqrt(sum x² + 1e-6).
  int32_t normalizes;
  /// As that of sa_attention.
  int32_t needs_gradient;
  int32_t reserved;

  /// Written forward: [b,t,g,v] in the queries' dtype, and [n,g,k,v] in float32 (float64 of float64),
  /// which may be absent.
  sa_tensor output, final_state;

  /// Read backward; absent is zero.
  sa_tensor output_gradient, final_state_gradient;
  /// Written backward where present, in the shape and dtype of what they are the gradients of.
  sa_tensor queries_gradient, keys_gradient, values_gradient, decay_gradient, beta_gradient;
  sa_tensor read_keys_gradient, low_rank_a_gradient, low_rank_b_gradient, bonus_gradient;
  sa_tensor initial_state_gradient;
} sa_linear_attention;

sa_status sa_linear_attention_forward(const sa_linear_attention *call);
sa_status sa_linear_attention_backward(const sa_linear_attention *call);
sa_status sa_linear_attention_explain(
    const sa_linear_attention *call, char *text, size_t capacity, size_t *length);

// --- Gated scan: h = exp(decay) h + inputs

/// A gated scan of one call, forward and backward.
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
  /// As that of sa_attention.
  int32_t needs_gradient;
  int32_t reserved;

  /// Written forward, read backward: [b,t,d] in the inputs' dtype. And written forward, where present:
  /// [n,d] in float32 (float64 of float64).
  sa_tensor output, final_state;

  /// Read backward; absent is zero.
  sa_tensor output_gradient, final_state_gradient;
  /// Written backward where present, in the shape and dtype of what they are the gradients of.
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
