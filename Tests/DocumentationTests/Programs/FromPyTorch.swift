import SwiftAttention

/// The program of the article FromPyTorch of AttentionTensors.
enum FromPyTorch {
  static func run(weights: String, results: String) throws {
    let file = try SafetensorsFile(path: weights)
    let weight = try file.tensor(named: "linear.weight")
    let bias = try file.tensor(named: "linear.bias")

    var random = Philox(seed: 0)
    let x = try Tensor.normal([4, weight.shape[1]], using: &random)
    let y = try x.matmul(weight.transposed()) + bias
    let probabilities = try y.softmax()

    let targets = try Tensor([0, 2, 1, 2] as [Int32])
    let leaf = weight.tracked()
    let loss = try (x.matmul(leaf.transposed()) + bias).crossEntropy(targets).mean()
    let gradient = try loss.gradients(of: [leaf])[0]
    let updated = try weight - gradient * 0.1

    let corner = try updated[0..<2, 1...]
    let heads = try x.reshaped([4, 2, -1]).permuted([1, 0, 2])
    let numbers = try probabilities.elements(as: Float.self)
    print(corner.shape, heads.shape, numbers.count)

    try Safetensors.write(
      [(name: "linear.weight", tensor: updated), (name: "probabilities", tensor: probabilities)],
      to: results)

    do {
      _ = try x.matmul(weight)
    } catch {
      print(error)
    }

    try check(loss, (x.matmul(updated.transposed()) + bias).crossEntropy(targets).mean())
  }

  private static func check(_ before: Tensor, _ after: Tensor) throws {
    let (before, after) = (try before.item(), try after.item())
    guard after < before else { throw ProgramError("the step made \(after) of \(before)") }
  }
}
