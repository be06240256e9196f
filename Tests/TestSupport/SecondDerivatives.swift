import Testing

@testable import AttentionTensors

/// Checks the second derivatives of `function` at float64 `inputs`: the gradients of its gradients, as a function of
/// the inputs and of the incoming gradient, compared with central differences; for an `order` of 3 also the third
/// derivatives, and so on.
package func expectDerivatives(
  upTo order: Int = 2, of inputs: [Tensor], _ label: String = "",
  sourceLocation: SourceLocation = #_sourceLocation,
  _ function: @escaping ([Tensor]) throws -> Tensor
) throws {
  var inputs = inputs
  var function = function
  for reached in 2...order {
    let output = try function(inputs)
    inputs.append(try normal(output.shape, UInt64(90 + reached)))
    let lower = function
    function = { try gradients(of: lower, at: $0) }
    try expectGradients(
      of: inputs, "\(label), derivative \(reached)", sourceLocation: sourceLocation, function)
  }
}

/// The gradients of `function` at all of `operands` but the last, which is the incoming gradient, concatenated.
private func gradients(
  of function: ([Tensor]) throws -> Tensor, at operands: [Tensor]
) throws -> Tensor {
  let leaves = operands.map { $0.isTracked ? $0 : $0.tracked() }
  let sources = Array(leaves.dropLast())
  let gradients = try function(sources)
    .gradients(of: sources, seed: leaves[leaves.count - 1], areDifferentiable: true)
  return try .concatenated(gradients.map { try $0.reshaped([$0.elementCount]) }, 0)
}
