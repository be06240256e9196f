import AttentionCUDA
import AttentionTensors

/// How the sequences of a call are worked on by `cuda.hopper`: each by itself, or cut into pieces side by side.
struct HopperPlan {
  let linear: DeviceLinear
  let isCut: Bool
  /// What kernels read of them, there and back; nil where they are the rows of the batch.
  private let forward, backward: DeviceSequences?
  private let firstPieces: DeviceMemory?
  /// Tokens of the longest sequence or piece.
  let longest: Int
  /// Chunks and segments of all sequences or pieces, by which what is kept of them is numbered.
  let chunks, segments: Int
  /// Sequences or pieces.
  let count: Int

  var call: LinearArguments { linear.call }
  var problem: LinearProblem { linear.call.problem }
  var queue: DeviceQueue { linear.queue }
  var multiprocessors: Int { queue.device.limits.multiprocessors }
  /// Sequences or pieces, times value heads.
  var recurrences: Int { count * problem.valueHeads }

  /// - Parameters:
  ///   - splits: whether sequences are cut.
  ///   - goesBack: whether passes go from the last token to the first, too.
  init(_ call: LinearArguments, splits: Bool, goesBack: Bool) throws {
    linear = try DeviceLinear(call, countsSequences: false)
    isCut = splits
    let problem = call.problem
    guard splits || problem.isPacked else {
      (forward, backward, firstPieces) = (nil, nil, nil)
      longest = problem.length
      chunks = problem.batch * problem.length.pieces(of: HopperTile.chunk)
      segments = problem.batch * problem.length.pieces(of: HopperFlows.segment)
      count = problem.sequences
      return
    }
    let queue = linear.queue
    let cut = HopperPieces(call, splits ? queue.device.limits.multiprocessors : nil)
    forward = try DeviceSequences(cut.onDevice, chunks: cut.chunks, queue)
    backward =
      splits && goesBack
      ? try DeviceSequences(cut.reversed.onDevice, chunks: cut.chunks, queue) : forward
    firstPieces = splits ? try queue.upload(cut.first, "first pieces") : nil
    (longest, chunks, segments) = (cut.longest, cut.chunks, cut.segments)
    count = cut.pieces.count
  }

  /// What a kernel reads of this call; of pieces in the order in which states pass through them.
  func operands(slices: Int, isReversed: Bool = false) throws -> DeviceLinear.Operands {
    var operands = try linear.operands(slices: slices)
    operands.sequences = (isReversed ? backward : forward)?.address ?? 0
    return operands
  }

  /// The number of each sequence's first piece, and of all, on the device.
  var firstPiecesAddress: UInt64 { firstPieces?.address ?? 0 }

  /// Bytes of a result that a thread writes at once.
  private static let chunkBytes: UInt64 = 16

  /// Memory for rows of a result: `wanted` where it has this shape and threads can write it.
  func result(_ shape: Shape, _ wanted: Tensor?) throws -> Tensor {
    let place = try wanted.flatMap {
      try $0.shape == shape && $0.deviceAddress() % Self.chunkBytes == 0 ? $0 : nil
    }
    return try linear.fresh(shape, problem.dtype, into: place)
  }
}
