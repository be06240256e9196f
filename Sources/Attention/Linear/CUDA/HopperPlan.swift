import CUDA
import Tensors

/// How the sequences of a call are worked on by `cuda.hopper`: each by itself, or cut into pieces side by side.
struct HopperPlan {
  let linear: DeviceLinear
  /// nil where sequences are whole.
  private let cut: HopperPieces?
  private let pieces, reversedPieces: DeviceSequences?
  private let firstPieces: DeviceMemory?
  /// Tokens of the longest sequence or piece.
  let longest: Int
  /// Segments of all sequences or pieces, by which what is kept of them is numbered.
  let segments: Int
  /// Sequences or pieces.
  let count: Int

  var call: LinearCall { linear.call }
  var problem: LinearProblem { linear.call.problem }
  var queue: DeviceQueue { linear.queue }
  var multiprocessors: Int { queue.device.limits.multiprocessors }
  var isCut: Bool { cut != nil }
  /// Sequences or pieces, times value heads.
  var recurrences: Int { count * problem.valueHeads }

  /// - Parameters:
  ///   - splits: whether sequences are cut.
  ///   - goesBack: whether passes go from the last token to the first, too.
  init(_ call: LinearCall, splits: Bool, goesBack: Bool) throws {
    linear = try DeviceLinear(call, chunk: HopperFlows.segment)
    let queue = linear.queue
    cut = splits ? HopperPieces(call, queue.device.limits.multiprocessors) : nil
    func upload(_ cut: HopperPieces) throws -> DeviceSequences {
      try DeviceSequences(
        cut.pieces, firstChunks: cut.firstSegments, chunks: cut.segments, queue)
    }
    pieces = try cut.map(upload)
    reversedPieces = goesBack ? try cut.map { try upload($0.reversed) } : nil
    firstPieces = try cut.map { try queue.upload($0.first, "first pieces") }
    longest = cut?.longest ?? call.sequences.lazy.map(\.tokens.count).max() ?? 0
    segments = cut?.segments ?? linear.chunks
    count = cut?.pieces.count ?? call.problem.sequences
  }

  /// What a kernel reads of this call; of pieces in the order in which states pass through them.
  func operands(slices: Int, isReversed: Bool = false) throws -> DeviceLinear.Operands {
    var operands = try linear.operands(slices: slices)
    if let sequences = isReversed ? reversedPieces : pieces {
      operands.sequences = sequences.address
    }
    return operands
  }

  /// The number of each sequence's first piece, and of all, on the device.
  func firstPiecesAddress() -> UInt64 { firstPieces?.address ?? 0 }
}
