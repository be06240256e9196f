extension Tensor {
  /// The gradients of `sources` when several outputs each receive a gradient, in the sources'
  /// order, shapes and dtypes. What computed the outputs is differentiated once.
  ///
  /// - Parameters:
  ///   - sources: tensors that were tracked before the outputs were computed from them.
  ///   - outputs: each output with the gradient that flows into it, of its shape; nil is zero. A gradient
  ///     of another dtype is converted to the output's.
  ///   - areDifferentiable: whether the gradients are recorded, as in
  ///     ``gradients(of:seed:areDifferentiable:)``.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a source is not tracked, or a
  ///   gradient does not have its output's shape; otherwise as
  ///   ``gradients(of:seed:areDifferentiable:)``.
  public static func gradients(
    of sources: [Tensor], through outputs: [(output: Tensor, gradient: Tensor?)],
    areDifferentiable: Bool = false
  ) throws -> [Tensor] {
    for (index, (output, gradient)) in outputs.enumerated() {
      guard gradient == nil || gradient?.shape == output.shape else {
        throw TensorError.invalidArgument(
          "outputs[\(index)].gradient", was: "\(gradient!.shape)", mustBe: "\(output.shape)")
      }
    }
    let incoming = try outputs.map { output, gradient in
      try (areDifferentiable ? gradient : gradient?.detached())?.cast(to: output.dtype)
    }
    let root = Tensor.recording([try .zeros([])], from: outputs.map(\.output)) { _, _ in incoming }
    return try root[0].gradients(of: sources, areDifferentiable: areDifferentiable)
  }
}
