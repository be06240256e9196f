import AttentionCUDA
import AttentionCUDAKernels
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
  func run(_ rates: TrainingAdamWRates, decays: [Float], precision: Precision) throws -> Results {
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
        TrainingAdamWEntry(
          parameter: try operands.parameters[index].deviceAddress(),
          gradient: try operands.gradients[index].deviceAddress(),
          first: try operands.firstMoments[index].deviceAddress(),
          second: try operands.secondMoments[index].deviceAddress(),
          new_parameter: try results.parameters[index].deviceAddress(),
          new_first: try results.firstMoments[index].deviceAddress(),
          new_second: try results.secondMoments[index].deviceAddress(),
          rounded: precision == .float32 ? 0 : try results.rounded[index].deviceAddress(),
          count: Int64(shapes[index].elementCount), first_block: Int32(pieces.firstBlocks[index]),
          gradient_type: try operands.gradients[index].numberType("gradients[\(index)]"),
          rounded_type: results.rounded[index].dtype.kernelType, decay: decays[index])
      }, "table of parameters")
    try withExtendedLifetime((operands, results, table)) {
      try queue.launch(
        "training/adamw", blocks: pieces.blocks, threads: TensorPieces.threads,
        TrainingAdamWParameters(
          entries: table.address,
          gradient_scale: operands.clip.deviceAddress() + UInt64(DType.float64.size),
          count: Int32(shapes.count), rates: rates))
    }
    return results
  }
}

extension CheckedKernel {
  /// Kernels of the optimizer.
  package static let training =
    each("training/adamw.cu", on: [80, 100]) + each("training/squares.cu", on: [90])
    + each("training/clip.cu", on: [90])
}
