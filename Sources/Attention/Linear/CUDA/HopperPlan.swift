import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// How `cuda.hopper` processes the sequences of a call: whole, or split into pieces that run in parallel.
struct HopperPlan {
  /// The caller's call.
  let source: LinearArguments
  /// The call whose rows passes process: with low-rank updates, two per token of the caller's.
  let linear: DeviceLinear
  let isCut: Bool
  /// The sequences or pieces on the device, for both directions; nil if they are the rows of the batch.
  private let forward, backward: DeviceSequences?
  private let firstPieces: DeviceMemory?
  /// The length of the longest sequence or piece.
  let longest: Int
  /// The numbers of chunks and segments of all sequences or pieces.
  let chunks, segments: Int
  /// The number of sequences or pieces.
  let count: Int

  var call: LinearArguments { linear.call }
  var problem: LinearProblem { linear.call.problem }
  var queue: DeviceQueue { linear.queue }
  var multiprocessors: Int { queue.device.limits.multiprocessors }
  var isLowRank: Bool { problem.update == .lowRank }
  /// Sequences or pieces, times value heads.
  var recurrences: Int { count * problem.valueHeads }

  /// - Parameters:
  ///   - splits: whether sequences are cut.
  ///   - goesBack: whether passes go from the last token to the first, too.
  init(_ call: LinearArguments, splits: Bool, goesBack: Bool) throws {
    source = call
    let call = call.inRows
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

  /// The inputs of a kernel; pieces are in the order in which states pass through them.
  func operands(slices: Int, isReversed: Bool = false) throws -> LinearOperands {
    var operands = try linear.operands(slices: slices)
    operands.sequences = (isReversed ? backward : forward)?.address ?? 0
    return operands
  }

  /// The index of each sequence's first piece, and the number of all pieces, on the device.
  var firstPiecesAddress: UInt64 { firstPieces?.address ?? 0 }

  /// Bytes of a result that a thread writes at once.
  private static let chunkBytes: UInt64 = 16

  /// Memory for rows of a result: `wanted` if it has this shape and a suitable layout, otherwise new memory.
  func result(_ shape: Shape, _ wanted: Tensor?) throws -> Tensor {
    let place = try wanted.flatMap {
      try $0.shape == shape && $0.deviceAddress() % Self.chunkBytes == 0 ? $0 : nil
    }
    return try linear.fresh(shape, problem.dtype, into: place)
  }
}
