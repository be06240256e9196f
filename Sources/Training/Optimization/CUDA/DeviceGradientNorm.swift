import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// The norm of gradients on a device and the factor that shortens them, without waiting for them.
struct DeviceGradientNorm {
  private let gradients: [Tensor]
  private let device: Device

  private static let clipThreads = 256

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
        TrainingSquaresEntry(
          numbers: try gradient.deviceAddress(), count: Int64(gradient.elementCount),
          first_block: Int32(firstBlock), type: try gradient.numberType("gradients"))
      }, "table of gradients")
    let sums = try Tensor.onDevice([pieces.blocks], dtype: .float32, device: device)
    let figures = try Tensor.onDevice([2], dtype: .float64, device: device)
    try withExtendedLifetime((gradients, table, sums, figures)) {
      try queue.launch(
        "training/squares", blocks: pieces.blocks, threads: TensorPieces.threads,
        sharedBytes: TensorPieces.threads / warp_threads * float_bytes,
        TrainingSquaresParameters(
          entries: table.address, sums: sums.deviceAddress(), count: Int32(gradients.count)))
      try queue.launch(
        "training/clip", blocks: 1, threads: Self.clipThreads,
        sharedBytes: Self.clipThreads * DType.float64.size,
        TrainingClipParameters(
          sums: sums.deviceAddress(), figures: figures.deviceAddress(), limit: limit,
          count: Int32(pieces.blocks)))
    }
    return figures
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
