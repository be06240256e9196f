import AttentionCPUKernels
import AttentionTensors

/// The two products of a forward tile and their operands, in one arithmetic: float32 (``FloatOperands``) or
/// dot products of bfloat16 pairs (``BFloat16Operands``).
protocol ForwardOperands: Sendable {
  /// Reads and packs the keys and values of all sequences.
  init(_ inputs: ExactArguments, _ kernels: cpu_kernels) throws

  /// Floats of memory that a block of `rows` queries needs besides its tile of scores.
  func blockFloats(rows: Int, tileKeys: Int) -> Int

  /// Reads a block of queries into its memory.
  func readQueries(_ block: ForwardBlock)

  /// S = similarity of the block's queries and the keys `columns`. Returns the factor that converts S to
  /// base-2 logits: log2(e) if `isFinal` is false, because then terms are added before the softmax.
  func similarity(_ block: ForwardBlock, _ columns: Range<Int>, isFinal: Bool) -> Float

  /// P = softmax weights of S, O += P V.
  ///
  /// - Parameter hides: whether pairs of the tile may be masked.
  func attend(_ block: ForwardBlock, _ columns: Range<Int>, factor: Float, hides: Bool) throws
}

/// A block of queries of one head, with its running softmax over the keys.
struct ForwardBlock {
  let segment: Int
  let head: Int
  let keyHead: Int
  /// Indices in the sequence.
  let rows: Range<Int>
  /// The row stride of a tile of scores.
  let tileKeys: Int
  /// The constant that replaces the running maximum, in base 2.
  let shift: Float?
  /// [queries, keys]
  let scores: UnsafeMutablePointer<Float>
  /// [queries, v]
  let output: UnsafeMutablePointer<Float>
  /// [queries]: the running maximum of the scores, before the factor that converts them to base-2 logits, or
  /// the shift; and the sum of weights.
  let high: UnsafeMutablePointer<Float>
  let sum: UnsafeMutablePointer<Float>
  /// ``ForwardOperands/blockFloats(rows:tileKeys:)`` of memory.
  let memory: UnsafeMutablePointer<Float>
}

extension ForwardBlock {
  /// O += P V with the weights in ``scores``; values with a weight of zero are not read.
  func addSelected(
    _ valueRows: HeadRows, _ inputs: ExactArguments, _ columns: Range<Int>, _ kernels: cpu_kernels
  ) throws {
    let place = inputs.segments[segment]
    let v = valueRows.dimension
    try valueRows.withFloats(
      batch: place.batch, head: keyHead, start: place.keyStart + columns.lowerBound,
      count: columns.count, normalizedGroups: nil, kernels
    ) { values, stride in
      kernels.add_selected(
        rows.count, v, columns.count, scores, tileKeys, 1, values, stride, output, v)
    }
  }
}

/// The factor that converts natural scores to base-2 logits.
let logTwoOfE: Float = 1.442_695_04

/// The offsets of each key/value head of each sequence in one array of packed operands.
struct PackedLayout: Sendable {
  /// For each segment the number of keys, rounded up to whole panels.
  let paddedRows: [Int]
  private let offsets: [Int]
  private let heads: Int
  private let perRow: Int
  let count: Int

  /// - Parameter perRow: elements that each padded row takes, keys and values together.
  init(_ inputs: ExactArguments, panel: Int, perRow: Int) {
    heads = inputs.problem.keyValueHeads
    self.perRow = perRow
    paddedRows = inputs.segments.map { $0.keyCount.rounded(up: panel) }
    var total = 0
    var offsets: [Int] = []
    for rows in paddedRows {
      for _ in 0..<heads {
        offsets.append(total)
        total += rows * perRow
      }
    }
    self.offsets = offsets
    count = total
  }

  func offset(_ segment: Int, _ head: Int) -> Int { offsets[segment * heads + head] }

  /// The number of padded rows of all heads, and of those before a head, for arrays of one number per row.
  var rowCount: Int { count / perRow }
  func rowOffset(_ segment: Int, _ head: Int) -> Int { offset(segment, head) / perRow }
}

extension ExactArguments {
  /// Calls `body` for pieces of the keys of each sequence and key/value head, spread over the
  /// threads. Pieces begin at multiples of every panel width.
  func forEachKeyPiece(
    _ body: (_ segment: Int, _ head: Int, _ piece: Range<Int>) throws -> Void
  ) throws {
    let tasks = segments.indices.flatMap { segment in
      stride(from: 0, to: segments[segment].keyCount, by: Self.pieceRows).flatMap { start in
        (0..<problem.keyValueHeads).map { (segment, $0, start) }
      }
    }
    func run(_ task: Int) throws {
      let (segment, head, start) = tasks[task]
      try body(segment, head, start..<min(start + Self.pieceRows, segments[segment].keyCount))
    }
    // Waking threads takes longer than copying so little.
    if keys.elementCount + values.elementCount <= Threads.pieceLength {
      for task in tasks.indices { try run(task) }
    } else {
      try Threads.tryForEach(tasks.count, run)
    }
  }

  static let pieceRows = 256
}
