import AttentionCUDA
import AttentionTensors

/// One step of ``AdamW`` on a device: all parameters in one launch, nothing waited for.
struct DeviceAdamW {
  /// What a step reads, a tensor a parameter; all on the device.
  struct Operands {
    let parameters: [Tensor]
    let gradients: [Tensor]
    let firstMoments: [Tensor]
    let secondMoments: [Tensor]
    /// Float64 [2]: a norm, and what gradients are multiplied with.
    let clip: Tensor
  }

  /// What a step writes.
  struct Results {
    let parameters: [Tensor]
    let rounded: [Tensor]
    let firstMoments: [Tensor]
    let secondMoments: [Tensor]
  }

  private let operands: Operands
  private let shapes: [Shape]
  private let device: Device
  private let pieces: TensorPieces
  private let places: PackedPlaces

  init(_ operands: Operands, on device: Device) throws {
    func dense(_ tensors: [Tensor]) throws -> [Tensor] {
      try tensors.map { try $0.detached().contiguous() }
    }
    self.operands = Operands(
      parameters: try dense(operands.parameters), gradients: try dense(operands.gradients),
      firstMoments: try dense(operands.firstMoments),
      secondMoments: try dense(operands.secondMoments), clip: operands.clip)
    self.device = device
    shapes = operands.parameters.map(\.shape)
    let counts = shapes.map(\.elementCount)
    pieces = TensorPieces(counts: counts)
    places = PackedPlaces(counts: counts)
  }

  /// - Parameters:
  ///   - rates: the numbers of the step.
  ///   - decays: the weight decay of each parameter.
  ///   - precision: what the new parameters are rounded to beside.
  func run(_ rates: AdamW.Rates, decays: [Float], precision: Precision) throws -> Results {
    func fresh(_ dtype: DType) throws -> [Tensor] {
      try places.views(of: .onDevice([places.total], dtype: dtype, device: device), shapes)
    }
    let parameters = try fresh(.float32)
    let results = Results(
      parameters: parameters,
      rounded: precision == .float32 ? parameters : try fresh(precision.dtype),
      firstMoments: try fresh(.float32), secondMoments: try fresh(.float32))
    let queue = try DeviceQueue.shared(for: device)
    let table = try queue.upload(
      shapes.indices.map { index in
        Entry(
          parameter: try operands.parameters[index].deviceAddress(),
          gradient: try operands.gradients[index].deviceAddress(),
          first: try operands.firstMoments[index].deviceAddress(),
          second: try operands.secondMoments[index].deviceAddress(),
          newParameter: try results.parameters[index].deviceAddress(),
          newFirst: try results.firstMoments[index].deviceAddress(),
          newSecond: try results.secondMoments[index].deviceAddress(),
          rounded: precision == .float32 ? 0 : try results.rounded[index].deviceAddress(),
          count: Int64(shapes[index].elementCount), firstBlock: Int32(pieces.firstBlocks[index]),
          gradientType: try operands.gradients[index].numberType("gradients[\(index)]"),
          roundedType: results.rounded[index].dtype.kernelType, decay: decays[index])
      }, "table of parameters")
    try withExtendedLifetime((operands, results, table)) {
      try queue.launch(
        "training/adamw", blocks: pieces.blocks, threads: TensorPieces.threads,
        Parameters(
          entries: table.address,
          gradientScale: operands.clip.deviceAddress() + UInt64(DType.float64.size),
          count: Int32(shapes.count), rates: rates))
    }
    return results
  }

  /// As in `training/adamw.cu`.
  private struct Entry: BitwiseCopyable {
    var parameter: UInt64
    var gradient: UInt64
    var first: UInt64
    var second: UInt64
    var newParameter: UInt64
    var newFirst: UInt64
    var newSecond: UInt64
    var rounded: UInt64
    var count: Int64
    var firstBlock: Int32
    var gradientType: Int32
    var roundedType: Int32
    var decay: Float
  }

  private struct Parameters: BitwiseCopyable {
    var entries: UInt64
    var gradientScale: UInt64
    var count: Int32
    var rates: AdamW.Rates
    var unused: Int32 = 0
  }
}
