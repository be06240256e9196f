import AttentionTensors

/// What `--shape` says: a shape for each named tensor.
struct ShapeList {
  private let shapes: [String: Shape]

  /// - Parameter argument: as `queries=2x1024x8x64,keys=2x512x2x64`.
  /// - Throws: ``CommandError``
  init(argument: String) throws {
    var shapes: [String: Shape] = [:]
    for entry in argument.split(separator: ",", omittingEmptySubsequences: false) {
      let parts = entry.split(separator: "=", omittingEmptySubsequences: false)
      guard parts.count == 2, !parts[0].isEmpty else {
        throw CommandError(
          "--shape", was: String(entry), mustBe: "NAME=AxBxC, as queries=2x1024x8x64")
      }
      let name = String(parts[0])
      let extents = parts[1].split(separator: "x", omittingEmptySubsequences: false).map {
        Int($0) ?? -1
      }
      guard extents.allSatisfy({ $0 >= 0 }) else {
        throw CommandError(
          "shape of \(name)", was: String(parts[1]), mustBe: "whole numbers with x between them")
      }
      guard shapes.updateValue(Shape(extents), forKey: name) == nil else {
        throw CommandError("--shape names \(name) twice; each tensor has one shape")
      }
    }
    self.shapes = shapes
  }

  /// A placeholder of each shape, but for cumulative lengths.
  ///
  /// - Throws: ``CommandError`` if the queries or inputs have no shape, ``TensorError`` if a shape is too
  ///   large to be addressed.
  func tensors(for operation: OperatorName, dtype: DType) throws -> [String: Tensor] {
    let first = operation == .scan ? "inputs" : "queries"
    guard let tokens = shapes[first] else {
      let example = operation == .scan ? "AxBxC" : "AxBxCxD"
      throw CommandError("--shape has no \(first); it must give at least \(first)=\(example)")
    }
    let all = operation == .scan ? scanShapes(tokens) : attentionShapes(tokens)
    let inputs = InputName.all(of: operation)
    var tensors: [String: Tensor] = [:]
    for (name, shape) in all {
      switch inputs.first(where: { $0.name == name })?.facts.kind {
      case .bool: tensors[name] = try .placeholder(shape, dtype: .bool)
      case .int32: tensors[name] = try Self.evenLengths(shape, total: tokens)
      case .floatingPoint, .floatingPointOrBool, nil:
        tensors[name] = try .placeholder(shape, dtype: dtype)
      }
    }
    return tensors
  }

  /// Keys are as the queries, and values as the keys, where they are not given.
  private func attentionShapes(_ queries: Shape) -> [String: Shape] {
    let keys = shapes["keys"] ?? queries
    return shapes.merging(["keys": keys, "values": shapes["values"] ?? keys]) { given, _ in given }
  }

  /// The decay is as the inputs where nothing selective is given. With a state matrix, the step is,
  /// and the other two have a row of its states for each token.
  private func scanShapes(_ inputs: Shape) -> [String: Shape] {
    guard shapes.keys.contains(where: InputName.selective.contains) else {
      return shapes.merging(["decay": inputs]) { given, _ in given }
    }
    var usual = ["step": inputs]
    if let states = shapes["state_matrix"]?.last {
      let rows = Shape(inputs.prefix(2) + [states])
      usual["input_matrix"] = rows
      usual["output_matrix"] = rows
    }
    return shapes.merging(usual) { given, _ in given }
  }

  /// Cumulative lengths are the one tensor whose numbers are made: so many at most.
  private static let mostBounds = 1 << 20

  /// Cumulative lengths of sequences that are as equal as they can be.
  private static func evenLengths(_ shape: Shape, total tokens: Shape) throws -> Tensor {
    guard shape.allSatisfy({ $0 <= mostBounds }) else {
      throw CommandError(
        "shape of cumulative_lengths", was: "\(shape)", mustBe: "of at most \(mostBounds) numbers")
    }
    let total = tokens.rank > 1 ? tokens[1] : 0
    return try .evenLengths(shape, total: total)
  }
}
