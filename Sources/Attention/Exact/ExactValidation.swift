import AttentionTensors

/// The extents of queries, keys and values, checked against each other.
struct ExactSizes {
  let batch: Int
  let queries: Int
  let keys: Int
  let heads: Int
  let keyValueHeads: Int
  let keyDimension: Int
  let valueDimension: Int

  init(_ q: Tensor, _ k: Tensor, _ v: Tensor) throws {
    func check(_ tensor: Tensor, _ name: String) throws {
      guard tensor.rank == 4 else {
        throw AttentionError.invalidArgument(
          name, was: "\(tensor.shape)", mustBe: "[batch, length, heads, dimension]")
      }
      guard tensor.dtype.isFloatingPoint, tensor.dtype == q.dtype else {
        throw AttentionError.invalidArgument(
          name, was: tensor.dtype.rawValue, mustBe: "of the queries' floating-point dtype")
      }
    }
    try check(q, "queries")
    try check(k, "keys")
    try check(v, "values")
    batch = q.shape[0]
    queries = q.shape[1]
    heads = q.shape[2]
    keyDimension = q.shape[3]
    keys = k.shape[1]
    keyValueHeads = k.shape[2]
    valueDimension = v.shape[3]
    guard k.shape[0] == batch, k.shape[3] == keyDimension else {
      throw AttentionError.invalidArgument(
        "keys", was: "\(k.shape)", mustBe: "[\(batch), length, heads, \(keyDimension)]")
    }
    guard v.shape[0] == batch, v.shape[1] == keys, v.shape[2] == keyValueHeads else {
      throw AttentionError.invalidArgument(
        "values", was: "\(v.shape)", mustBe: "[\(batch), \(keys), \(keyValueHeads), dimension]")
    }
    guard heads >= 1, keyValueHeads >= 1, heads % keyValueHeads == 0 else {
      throw AttentionError.invalidArgument(
        "key/value heads", was: "\(keyValueHeads)",
        mustBe: "at least 1 and a divisor of the \(heads) query heads")
    }
    try ProblemSize.check(sequences: batch, "queries")
    try ProblemSize.check(heads: heads, "queries")
    try ProblemSize.check(row: valueDimension, "values")
    let meaning = "batch, length, heads and dimension"
    try ProblemSize.check(q, "queries", q.shape.dimensions, meaning)
    try ProblemSize.check(k, "keys", k.shape.dimensions, meaning)
    try ProblemSize.check(v, "values", v.shape.dimensions, meaning)
    try ProblemSize.check(
      v, "values", [batch, queries, heads, valueDimension],
      "batch, queries, heads and dimension of values")
    try ProblemSize.check(
      q, "queries", [batch, queries, keys, heads], "batch, queries, keys and heads",
      largest: ProblemSize.mostPairs)
  }
}

/// A floating-point [count] tensor, without history.
func vector(_ tensor: Tensor, _ name: String, count: Int) throws -> Tensor {
  guard tensor.shape == [count], tensor.dtype.isFloatingPoint else {
    throw AttentionError.invalidArgument(
      name, was: "\(tensor.dtype.rawValue) \(tensor.shape)", mustBe: "floating-point [\(count)]")
  }
  return tensor.detached()
}

/// The factor of all heads; 1 where each has its own, and where there is nothing that it would multiply.
func resolve(factor scale: Scale?, dimension: Int) throws -> Double {
  switch scale {
  case nil: return dimension == 0 ? 1 : 1 / Double(dimension).squareRoot()
  case .number(let number):
    guard number.isFinite else {
      throw AttentionError.invalidArgument("scale", was: "\(number)", mustBe: "finite")
    }
    return number
  case .perHead: return 1
  }
}

/// The factor of each head; none where they are on a GPU, whose work is not waited for, or only their
/// shape is known.
func resolve(scale: Scale?, factor: Double, heads: Int) throws -> [Float] {
  switch scale {
  case nil, .number: return [Float](repeating: Float(factor), count: heads)
  case .perHead(let tensor):
    let factors = try vector(tensor, "scale", count: heads)
    let isReadable = factors.device == .cpu && !factors.isPlaceholder
    return isReadable ? try factors.elements(as: Float.self) : []
  }
}

func validate(window: Window?) throws {
  for (name, limit) in [("window left", window?.left), ("window right", window?.right)] {
    if let limit, limit < 0 {
      throw AttentionError.invalidArgument(name, was: "\(limit)", mustBe: "at least 0, or no limit")
    }
  }
}

func resolve(keyMask: Tensor?, shape: Shape) throws -> Tensor? {
  guard let keyMask else { return nil }
  guard keyMask.dtype == .bool, keyMask.shape == shape else {
    throw AttentionError.invalidArgument(
      "keyMask", was: "\(keyMask.dtype.rawValue) \(keyMask.shape)", mustBe: "bool \(shape)")
  }
  return try keyMask.detached().contiguous()
}

/// The bias as a view of the full shape, where and as it lies.
func resolve(bias: Tensor?, shape: Shape) throws -> Tensor? {
  guard let bias else { return nil }
  guard bias.dtype.isFloatingPoint || bias.dtype == .bool,
    let full = try? bias.detached().expanded(to: shape)
  else {
    throw AttentionError.invalidArgument(
      "bias", was: "\(bias.dtype.rawValue) \(bias.shape)",
      mustBe: "floating-point or bool, and broadcastable to \(shape)")
  }
  return full
}

/// The bounds of packed sequences as integers.
func packedBounds(_ lengths: Tensor, batch: Int, length: Int) throws -> [Int] {
  guard lengths.dtype == .int32, lengths.rank == 1, lengths.elementCount >= 1 else {
    throw AttentionError.invalidArgument(
      "cumulativeLengths", was: "\(lengths.dtype.rawValue) \(lengths.shape)",
      mustBe: "int32 [sequences + 1]")
  }
  guard batch == 1 else {
    throw AttentionError.invalidArgument(
      "batch", was: "\(batch)", mustBe: "1 with cumulativeLengths")
  }
  try ProblemSize.check(sequences: lengths.elementCount - 1, "cumulativeLengths")
  let bounds = try lengths.elements(as: Int32.self).map(Int.init)
  let rises = zip(bounds, bounds.dropFirst()).allSatisfy { $0 <= $1 }
  guard bounds[0] == 0, bounds[bounds.count - 1] == length, rises else {
    throw AttentionError.invalidArgument(
      "cumulativeLengths", was: "\(bounds)",
      mustBe: "from 0 to the length \(length), never falling")
  }
  return bounds
}
