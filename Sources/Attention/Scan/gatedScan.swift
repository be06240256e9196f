import AttentionTensors

/// The gated scan: one state per channel, which decays by a gate per token and accumulates inputs:
///
///     h_t = exp(decay_t) ⊙ h_{t−1} + inputs_t
///
/// The recurrence of gated linear recurrent networks
/// ([Martin and Cundy](https://arxiv.org/abs/1709.04057)): HGRN, minGRU, minLSTM and RG-LRU are a
/// few lines over it. A decay of −∞ clears the state.
///
/// Gradients flow to all inputs, from the output and the final state. Half precision is computed in
/// float32; the gradient of the decay reads the states from the output, in its dtype.
///
/// - Parameters:
///   - inputs: `[b, t, d]` in float32, bfloat16, float16 or (reference only) float64. Views are read
///     through their strides.
///   - decay: `[b, t, d]`, the natural logarithm of the decay, at most 0, in any floating-point dtype.
///   - initialState: `[n, d]` in any floating-point dtype, with n the batch or the number of packed
///     sequences; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, from 0 to t, for n sequences, possibly empty, packed into one
///     row of the batch.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the invalid argument, or why the kernel cannot run.
public func gatedScan(
  inputs: Tensor, decay: Tensor, initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil,
  kernel: String? = nil
) throws -> GatedScanResult {
  try OperatorCall<GatedScan>(
    inputs: inputs, decay: decay, initialState: initialState,
    cumulativeLengths: cumulativeLengths, kernel: kernel
  ).run()
}

/// What ``gatedScan(inputs:decay:initialState:cumulativeLengths:kernel:)`` gives: `output`, the states after each
/// token, [b, t, d] in the dtype of the inputs, `finalState` [n, d], and which kernel ran.
public typealias GatedScanResult = OperatorResults<GatedScan>

extension OperatorCall where Op == GatedScan {
  /// The call that ``gatedScan(inputs:decay:initialState:cumulativeLengths:kernel:)`` runs, with its arguments.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming the first invalid argument.
  public init(
    inputs: Tensor, decay: Tensor, initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil,
    kernel: String? = nil
  ) throws {
    try self.init(
      [
        .inputs: inputs, .decay: decay, .initialState: initialState,
        .cumulativeLengths: cumulativeLengths,
      ], NoOptions(), kernel: kernel)
  }
}
