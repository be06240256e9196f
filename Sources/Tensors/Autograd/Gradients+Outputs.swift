extension Tensor {
  /// The gradients of `sources` when several outputs each receive a gradient, in the sources'
  /// order, shapes and dtypes. What computed the outputs is differentiated once.
  ///
  /// - Parameters:
  ///   - sources: tensors that were tracked before the outputs were computed from them.
  ///   - outputs: each output with the gradient that flows into it, of its shape; nil is zero.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a source is not tracked, or a
  ///   gradient does not have its output's shape.
  public static func gradients(
    of sources: [Tensor], through outputs: [(output: Tensor, gradient: Tensor?)]
  ) throws -> [Tensor] {
    for (index, (output, gradient)) in outputs.enumerated() {
      guard gradient == nil || gradient?.shape == output.shape else {
        throw TensorError.invalidArgument(
          "outputs[\(index)].gradient", was: "\(gradient!.shape)", mustBe: "\(output.shape)")
      }
    }
    let incoming = outputs.map { $0.gradient?.detached() }
    let root = Tensor.recording([try .zeros([])], from: outputs.map(\.output)) { _ in incoming }[0]
    return try root.gradients(of: sources)
  }
}
