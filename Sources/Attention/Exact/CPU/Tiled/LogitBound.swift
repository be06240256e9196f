import AttentionCPUKernels
import AttentionTensors

/// A bound of the logits of a block of queries from norms: |q·k| ≤ |q| |k|.
///
/// If it is so small that no weight exp(s − bound) underflows, it replaces the running maximum: the softmax
/// is the same for any shift, and computing row maxima takes a third of its time.
struct LogitBound: Sendable {
  /// Twice the largest bound that is used, in base 2: weights of 2⁻⁶⁴ leave range for small values.
  private static let largestExponent: Float = 64
  /// In shorter sequences computing norms takes as long as it saves.
  private static let leastQueries = 512

  private let inputs: ExactArguments
  private let kernels: cpu_kernels
  private let queryRows: HeadRows
  /// The largest norm of a key of each segment and key/value head.
  private let longestKeys: [Float]

  /// Nil where no sequence can use a bound: anything added to a score is not bounded by lengths, and
  /// normalised cosine similarity has a constant shift of its own.
  init?(_ inputs: ExactArguments, _ kernels: cpu_kernels) throws {
    guard inputs.problem.terms.isEmpty, inputs.normalizedGroups == nil,
      inputs.segments.contains(where: { $0.queryCount >= Self.leastQueries }),
      let type = inputs.dtype.floatType
    else { return nil }
    self.inputs = inputs
    self.kernels = kernels
    queryRows = try HeadRows(inputs.queries, type)
    longestKeys = try Self.longestKeys(inputs, HeadRows(inputs.keys, type), kernels)
  }

  /// The bound of base-2 logits of the block's queries; nil if weights could underflow.
  func shift(
    _ segment: Int, _ head: Int, _ rows: Range<Int>
  ) throws -> Float? {
    let place = inputs.segments[segment]
    guard place.queryCount >= Self.leastQueries else { return nil }
    let longest = try Self.longest(
      queryRows, batch: place.batch, head: head, start: place.queryStart + rows.lowerBound,
      count: rows.count, kernels)
    let key = longestKeys[
      segment * inputs.problem.keyValueHeads + head / inputs.headsPerGroup]
    let bound = abs(inputs.scale[head]) * longest * key * logTwoOfE
    // Also false for NaN.
    return 2 * bound <= Self.largestExponent ? bound : nil
  }

  private static func longestKeys(
    _ inputs: ExactArguments, _ rows: HeadRows, _ kernels: cpu_kernels
  ) throws -> [Float] {
    let heads = inputs.problem.keyValueHeads
    var longest = [Float](repeating: 0, count: inputs.segments.count * heads)
    let keyMask = try inputs.keyMask?.hostElements()
    nonisolated(unsafe) let keep = keyMask?.base.assumingMemoryBound(to: UInt8.self)
    try longest.withUnsafeMutableBufferPointer { longest in
      nonisolated(unsafe) let longest = longest
      try Threads.tryForEach(longest.count) { index in
        let segment = inputs.segments[index / heads]
        for start in stride(from: 0, to: segment.keyCount, by: ExactArguments.pieceRows) {
          let first = segment.keyStart + start
          let length = try Self.longest(
            rows, batch: segment.batch, head: index % heads, start: first,
            count: min(ExactArguments.pieceRows, segment.keyCount - start),
            keep: keep.map { $0 + segment.batch * inputs.problem.keyLength + first }, kernels)
          // NaN is kept; then no bound is used.
          if !(length <= longest[index]) { longest[index] = length }
        }
      }
    }
    return longest
  }

  /// The largest norm of some rows; NaN if one of them has NaN. Rows for which `keep` is 0 are ignored.
  private static func longest(
    _ rows: HeadRows, batch: Int, head: Int, start: Int, count: Int,
    keep: UnsafePointer<UInt8>? = nil, _ kernels: cpu_kernels
  ) throws -> Float {
    var square: Float = 0
    try rows.withFloats(
      batch: batch, head: head, start: start, count: count, normalizedGroups: nil, kernels
    ) { row, stride in
      for r in 0..<count where keep?[r] != 0 {
        let own = kernels.dot(rows.dimension, row + r * stride, row + r * stride)
        if !(own <= square) { square = own }
      }
    }
    return square.squareRoot()
  }
}
