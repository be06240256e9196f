import AttentionCUDA
import AttentionTensors

/// The norm of gradients on a device and the factor that shortens them, without waiting for them.
struct DeviceGradientNorm {
  private let gradients: [Tensor]
  private let device: Device

  private static let clipThreads = 256
  private static let warpThreads = 32

  init(_ gradients: [Tensor], on device: Device) throws {
    self.gradients = try gradients.map { try $0.detached().contiguous() }
    self.device = device
  }

  /// Float64 [2]: the norm, and the factor that shortens it to at most `limit`.
  func figures(limit: Double) throws -> Tensor {
    let queue = try DeviceQueue.shared(for: device)
    let pieces = TensorPieces(counts: gradients.map(\.elementCount))
    let table = try queue.upload(
      zip(gradients, pieces.firstBlocks).map { gradient, firstBlock in
        Entry(
          numbers: try gradient.deviceAddress(), count: Int64(gradient.elementCount),
          firstBlock: Int32(firstBlock), type: try gradient.numberType("gradients"))
      }, "table of gradients")
    let sums = try Tensor.onDevice([pieces.blocks], dtype: .float32, device: device)
    let figures = try Tensor.onDevice([2], dtype: .float64, device: device)
    try withExtendedLifetime((gradients, table, sums, figures)) {
      try queue.launch(
        "training/squares", blocks: pieces.blocks, threads: TensorPieces.threads,
        sharedBytes: TensorPieces.threads / Self.warpThreads * DType.float32.size,
        SquaresParameters(
          entries: table.address, sums: sums.deviceAddress(), count: Int32(gradients.count)))
      try queue.launch(
        "training/clip", blocks: 1, threads: Self.clipThreads,
        sharedBytes: Self.clipThreads * DType.float64.size,
        ClipParameters(
          sums: sums.deviceAddress(), figures: figures.deviceAddress(), limit: limit,
          count: Int32(pieces.blocks)))
    }
    return figures
  }

  /// As in `training/squares.cu`.
  private struct Entry: BitwiseCopyable {
    var numbers: UInt64
    var count: Int64
    var firstBlock: Int32
    var type: Int32
  }

  private struct SquaresParameters: BitwiseCopyable {
    var entries: UInt64
    var sums: UInt64
    var count: Int32
    var unused: Int32 = 0
  }

  /// As in `training/clip.cu`.
  private struct ClipParameters: BitwiseCopyable {
    var sums: UInt64
    var figures: UInt64
    var limit: Double
    var count: Int32
    var unused: Int32 = 0
  }
}

extension Tensor {
  /// The number by which kernels know the dtype of numbers to sum or add.
  ///
  /// - Throws: `TensorError.invalidArgument(_:was:mustBe:)` if they do not read it.
  func numberType(_ name: String) throws -> Int32 {
    guard dtype == .float32 || dtype.isHalfPrecision else {
      throw TensorError.invalidArgument(
        name, was: dtype.rawValue, mustBe: "float32, bfloat16 or float16")
    }
    return dtype.kernelType
  }
}
