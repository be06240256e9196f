import AttentionTensors

/// Checks of arguments.
package enum Check {
  /// Throws ``AttentionError/invalidArgument(_:was:mustBe:)`` with the shape of `tensor` unless `isRight`
  /// holds.
  static func tensor(
    _ tensor: Tensor, _ name: String, _ mustBe: @autoclosure () -> String,
    _ isRight: (Tensor) -> Bool
  ) throws {
    guard isRight(tensor) else {
      throw AttentionError.invalidArgument(name, was: "\(tensor.shape)", mustBe: mustBe())
    }
  }

  /// The same with its dtype.
  static func dtype(
    of tensor: Tensor, _ name: String,
    _ mustBe: @autoclosure () -> String = "a floating-point dtype",
    _ isRight: (DType) -> Bool = \.isFloatingPoint
  ) throws {
    guard isRight(tensor.dtype) else {
      throw AttentionError.invalidArgument(
        "dtype of \(name)", was: tensor.dtype.rawValue, mustBe: mustBe())
    }
  }

  /// The device of `tensor`, the argument `name`, which must be that of the others too.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming the first one on another device.
  @discardableResult
  static func device(
    of tensor: Tensor, _ name: String, with others: [(tensor: Tensor?, name: String)]
  ) throws -> Device {
    for (other, otherName) in others {
      guard let other, other.device != tensor.device else { continue }
      throw AttentionError.invalidArgument(
        otherName, was: "on \(other.device)", mustBe: "on \(tensor.device) like the \(name)")
    }
    return tensor.device
  }

  /// The sequences of a call: the rows of the batch, or packed sequences with these cumulative lengths.
  /// `name` is the argument that has the batch.
  static func sequences(
    _ cumulativeLengths: Tensor?, of name: String, batch: Int, length: Int
  ) throws -> TokenSequences {
    guard let cumulativeLengths else {
      try ProblemSize.check(sequences: batch, name)
      return TokenSequences(rows: batch, length: length)
    }
    return TokenSequences(
      packed: try bounds(cumulativeLengths, of: name, batch: batch, length: length))
  }

  /// The cumulative lengths of packed sequences.
  package static func bounds(
    _ cumulativeLengths: Tensor, of name: String, batch: Int, length: Int
  ) throws -> [Int] {
    let argument = "cumulativeLengths"
    try tensor(cumulativeLengths, argument, "[sequences + 1]") { $0.rank == 1 && $0.shape[0] > 0 }
    try dtype(of: cumulativeLengths, argument, "int32") { $0 == .int32 }
    try ProblemSize.check(sequences: cumulativeLengths.shape[0] - 1, argument)
    guard batch == 1 else {
      throw AttentionError.invalidArgument(
        name, was: "of batch \(batch)", mustBe: "of batch 1 with cumulativeLengths")
    }
    let bounds = try cumulativeLengths.elements(as: Int32.self).map(Int.init)
    guard bounds[0] == 0, bounds[bounds.count - 1] == length,
      zip(bounds, bounds.dropFirst()).allSatisfy({ $0 <= $1 })
    else {
      throw AttentionError.invalidArgument(
        argument, was: "\(bounds)", mustBe: "from 0 to the length \(length), never decreasing")
    }
    return bounds
  }
}

extension Tensor {
  /// This tensor, or a contiguous copy if the elements of its last axis are not adjacent.
  func withDenseRows() throws -> Tensor {
    shape[rank - 1] == 1 || strides[rank - 1] == 1 ? self : try contiguous()
  }
}
