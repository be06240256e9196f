import SwiftAttention
import Tensors

/// The gradient of an own operation, and the gradient of that, are those of its definition.
func checkOperation() throws {
  var random = Philox(seed: 0)
  let x = try Tensor.normal([64], using: &random).tracked()

  func derivatives(_ function: (Tensor) throws -> Tensor) throws -> [Tensor] {
    let slope = try function(x).sum().gradients(of: [x], areDifferentiable: true)[0]
    return [try function(x).sum().gradients(of: [x])[0], try slope.sum().gradients(of: [x])[0]]
  }

  let own = try derivatives { try $0.squaredReLU() }
  let defined = try derivatives { try $0.squaredReLUByDefinition() }
  let differences = try zip(own, defined).map { try $0.largestDifference(from: $1) }
  print("operation: first and second derivatives differ from the definition's by", differences)
  try check(differences.allSatisfy { $0 <= 1e-6 }, "the operation's derivatives are wrong")
}
