import Tensors

/// What a gated scan computes.
public struct GatedScanOutputs: Sendable {
  /// [b, t, d] in the inputs' dtype.
  public var output: Tensor
  /// [n, d]
  public var finalState: Tensor
}

/// The gradients of what a gated scan reads.
public struct GatedScanGradients: Sendable {
  /// [b, t, d]
  public var inputs: Tensor
  /// [b, t, d]
  public var decay: Tensor
  /// [n, d], whether an initial state was given or not.
  public var initialState: Tensor
}

/// One way to compute gated scans.
public protocol GatedScanKernel: Kernel<GatedScanProblem> {
  /// Runs the scan. Asked only where there is no objection.
  func forward(_ call: GatedScanCall) throws -> GatedScanOutputs

  /// The gradients, given what ``forward(_:)`` returned and what flows into it; nil is zero.
  func backward(
    _ call: GatedScanCall, _ outputs: GatedScanOutputs, outputGradient: Tensor?,
    finalStateGradient: Tensor?
  ) throws -> GatedScanGradients
}
