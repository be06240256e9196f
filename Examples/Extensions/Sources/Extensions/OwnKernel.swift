import Attention
import SwiftAttention

/// An own kernel takes part in the choice, and gives what the reference gives.
func checkKernel() throws {
  try ExactAttention.register(RowsKernel())

  var random = Philox(seed: 1)
  let queries = try Tensor.normal([1, 50, 2, 16], using: &random)
  let keys = try Tensor.normal([1, 50, 2, 16], using: &random)
  let values = try Tensor.normal([1, 50, 2, 16], using: &random)
  let mask = AttentionMask(isCausal: true)

  let verdict = try attention(queries: queries, keys: keys, values: values, mask: mask).explanation
  let listed = verdict.candidates.first { $0.kernel == "cpu.rows" }
  try check(listed?.seconds != nil, "the kernel is no candidate: \(verdict)")

  let own = try attention(
    queries: queries, keys: keys, values: values, mask: mask, kernel: "cpu.rows")
  let reference = try attention(
    queries: queries, keys: keys, values: values, mask: mask, kernel: "cpu.reference")
  let difference = try own.output.largestDifference(from: reference.output)
  print("kernel: \(own.explanation.chosen ?? "none") differs from the reference by", difference)
  try check(difference <= 1e-5, "the kernel is wrong")

  do {
    _ = try attention(
      queries: queries.tracked(), keys: keys, values: values, mask: mask, kernel: "cpu.rows")
    throw Failure(description: "the kernel's objection is ignored")
  } catch let error as AttentionError {
    print("kernel: asked for gradients,", error)
  }
}
