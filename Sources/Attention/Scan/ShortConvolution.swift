import AttentionTensors

/// The results of `shortConvolution`.
public struct ShortConvolutionResult: Sendable {
  /// [b, t, d] in the dtype of the inputs.
  public let output: Tensor
  /// The last W − 1 inputs of each sequence, including those before it, [n, d, W − 1], oldest first:
  /// float32, or float64 with float64 inputs.
  public let finalState: Tensor
}

/// A depthwise causal convolution over time, W tokens wide:
///
///     y_t = silu(bias + Σ_{j < W} weight_j ⊙ x_{t − (W − 1) + j})
///
/// with or without the silu. The tokens of the state precede the first token; packed sequences are
/// independent. A sequence that is split anywhere and continued from its state gives the same result
/// as the whole.
///
/// Gradients flow to all inputs, from the output and the final state. Half precision is computed in
/// float32.
///
/// - Parameters:
///   - inputs: x, [b, t, d] in any floating-point dtype. Views are read through their strides.
///   - weight: `[d, W]` in any floating-point dtype, W from 2 to 4; the last column weighs the current
///     token.
///   - bias: `[d]` in any floating-point dtype; nil is zero.
///   - appliesSiLU: whether silu(y) = y / (1 + e^−y) is applied.
///   - initialState: `[n, d, W − 1]` in any floating-point dtype, oldest first, with n the batch or the
///     number of packed sequences; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, from 0 to t, for n sequences, possibly empty, packed into one
///     row of the batch.
/// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming the invalid argument.
public func shortConvolution(
  inputs: Tensor, weight: Tensor, bias: Tensor? = nil, appliesSiLU: Bool = false,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil
) throws -> ShortConvolutionResult {
  let call = try ConvolutionCall(
    inputs: inputs, weight: weight, bias: bias, appliesSiLU: appliesSiLU,
    initialState: initialState, cumulativeLengths: cumulativeLengths)
  if inputs.dtype == .float64, call.hasTokens {
    return try call.definition(
      inputs: inputs, weight: weight, bias: bias, initialState: initialState)
  }
  let onDevice = call.device == .cpu || !call.hasTokens ? nil : try DeviceConvolution(call)
  let outputs = try onDevice?.forward() ?? call.forward()
  let sources = [inputs, weight] + [bias, initialState].compactMap { $0 }
  let dtypes = sources.map(\.dtype)
  let isGiven = [true, true, bias != nil, initialState != nil]
  let recorded = Tensor.recording(
    [outputs.output, outputs.finalState], from: sources, operation: "shortConvolution"
  ) {
    let incoming = $0.map { $0?.detached() }
    let gradients =
      try onDevice?.backward(incoming[0], incoming[1]) ?? call.backward(incoming[0], incoming[1])
    let wanted = zip(gradients, isGiven).filter(\.1).map(\.0)
    return try zip(wanted, dtypes).map { try $0.cast(to: $1) }
  }
  return ShortConvolutionResult(output: recorded[0], finalState: recorded[1])
}
