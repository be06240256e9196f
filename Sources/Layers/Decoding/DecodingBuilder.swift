import AttentionCUDAKernels
import AttentionTensors

/// Numbers that a stage leaves for later ones.
struct DecodedVector {
  let address: UInt64
  let count: Int

  func sliced(_ range: Range<Int>) -> DecodedVector {
    DecodedVector(
      address: address + UInt64(range.lowerBound * Int(tagged_bytes)), count: range.count)
  }
}

/// What a product multiplies.
enum DecodedInput {
  case plain(DecodedVector)
  case normalized(DecodedVector, RMSNorm)
  /// Normalised over each head, times a gate.
  case heads(DecodedVector, GatedNorm, gate: DecodedVector?)

  var vector: DecodedVector {
    switch self {
    case .plain(let vector), .normalized(let vector, _), .heads(let vector, _, _): vector
    }
  }
}

/// A part of a layer that adds to the residual stream.
public struct DecodedStep {
  /// The stream, normalised.
  let input: DecodedInput
  /// The factor of what is added.
  let scale: Double
  /// The factor of what it is added to.
  let residualScale: Double
}

/// Makes a ``DecodingProgram``: begins with a table of embeddings, then adds parts of layers, then the logits.
public struct DecodingBuilder {
  let device: Device
  /// Of the weights.
  let dtype: DType
  /// How many tokens have been read.
  let position: Int
  let capacity: Int

  private(set) var stages: [DecodingStage] = []
  private(set) var kept: [Tensor] = []
  private(set) var states: [(any DecodedState)?] = []
  private(set) var widest = 0
  private(set) var mostUnits = 0
  private(set) var vocabularySize = 0
  /// The residual stream.
  private var stream: DecodedVector

  /// - Parameters:
  ///   - embedding: the first stage takes the token's row of it.
  ///   - scale: the row's factor.
  ///   - tokenCount: how many tokens have been read.
  /// - Throws: ``DecodingObjection``.
  public init(_ embedding: Embedding, scale: Double, tokenCount: Int) throws {
    let table = embedding.weight
    device = table.device
    dtype = table.dtype
    guard device != .cpu else { throw DecodingObjection("the model is on the CPU") }
    guard dtype.isHalfPrecision || dtype == .float32 else {
      throw DecodingObjection("its parameters are \(dtype.rawValue)")
    }
    position = tokenCount
    let leastCapacity = 256
    capacity = max(leastCapacity, 2 * tokenCount)
    stream = DecodedVector(address: 0, count: 0)
    stream = try vector(table.shape[1])
    var stage = DecodingStage()
    stage.kind = Int32(decoding_gather)
    stage.columns = Int32(table.shape[1])
    stage.table = try address(of: table)
    stage.output = stream.address
    stage.scale = Float(scale)
    try append(stage, rows: table.shape[1])
  }

  /// A part's input is the stream, normalised.
  ///
  /// - Throws: ``DecodingObjection``.
  public func step(norm: Norm, scale: Double, residualScale: Double) throws -> DecodedStep {
    DecodedStep(
      input: try normalized(norm), scale: scale, residualScale: residualScale)
  }

  private func normalized(_ norm: Norm) throws -> DecodedInput {
    guard case .rms(let norm) = norm else { throw DecodingObjection("it has a layer norm") }
    return .normalized(stream, norm)
  }

  /// Adds a mixer, whose states begin as copies of those in `cache`.
  ///
  /// - Throws: ``DecodingObjection``.
  public mutating func add(
    _ mixer: any TokenMixer, _ step: DecodedStep, after cache: (any MixerCache)?
  ) throws {
    guard let decoded = mixer as? any DecodedMixer else {
      throw DecodingObjection("the kernel does not have \(type(of: mixer))")
    }
    states.append(try decoded.addStages(to: &self, step, after: cache))
  }

  /// Adds a feed-forward layer.
  ///
  /// - Throws: ``DecodingObjection``.
  public mutating func add(_ layer: FeedForward, _ step: DecodedStep) throws {
    let options = layer.options
    guard options.isGated, options.activation == .silu, options.gateScale == 1 else {
      throw DecodingObjection("a feed-forward layer is not gated by a silu")
    }
    var matrices = layer.inputs.map(Matrix.init)
    if matrices.count == 1 { matrices = try matrices[0].split(at: options.inner) }
    let inner = try vector(options.inner)
    var stage = try product(step.input, matrices)
    stage.rows = Int32(options.inner)
    stage.output_kind = Int32(decoding_swiglu)
    stage.output = inner.address
    try append(stage, rows: options.inner, sides: 2)
    try finish(step, .plain(inner), layer.down)
    states.append(nil)
  }

  /// The last stages: norm and logits.
  ///
  /// - Parameters:
  ///   - norm: of the stream.
  ///   - weight: `[vocabulary, hidden]`
  ///   - scale: the logits' factor.
  ///   - softcap: c where logits l become c tanh(l / c).
  /// - Throws: ``DecodingObjection``, or what the GPU reports.
  public mutating func program(norm: Norm, weight: Tensor, scale: Double, softcap: Double?) throws
    -> DecodingProgram
  {
    vocabularySize = weight.shape[0]
    var stage = try product(normalized(norm), [Matrix(weight, bias: nil)])
    stage.output_kind = Int32(decoding_logits)
    stage.scale = Float(scale)
    stage.softcap = Float(softcap ?? 0)
    try append(stage, rows: vocabularySize)
    return try DecodingProgram(self)
  }
}

extension DecodingBuilder {
  /// A matrix with a row for each output.
  struct Matrix {
    /// [rows, columns]
    let weight: Tensor
    /// [rows]
    let bias: Tensor?

    init(_ weight: Tensor, bias: Tensor?) {
      self.weight = weight.detached()
      self.bias = bias?.detached()
    }
    init(_ layer: Linear) { self.init(layer.weight, bias: layer.bias) }

    /// The first rows, and the others.
    func split(at row: Int) throws -> [Matrix] {
      try [0..<row, row..<weight.shape[0]].map {
        Matrix(try weight.sliced(0, $0), bias: try bias?.sliced(0, $0))
      }
    }
  }

  /// The products of an input and matrices, one vector for each.
  mutating func project(_ input: DecodedInput, _ layers: [Linear]) throws -> [DecodedVector] {
    let matrices = layers.map(Matrix.init)
    let counts = matrices.map { $0.weight.shape[0] }
    let all = try vector(counts.reduce(0, +))
    var stage = try product(input, matrices)
    stage.output_kind = Int32(decoding_store)
    stage.output = all.address
    try append(stage, rows: all.count)
    var first = 0
    return counts.map { count in
      defer { first += count }
      return all.sliced(first..<first + count)
    }
  }

  /// Adds the product of an input and a layer to the stream.
  mutating func finish(_ step: DecodedStep, _ input: DecodedInput, _ layer: Linear) throws {
    let next = try vector(layer.weight.shape[0])
    var stage = try product(input, [Matrix(layer)])
    stage.output_kind = Int32(decoding_add)
    stage.output = next.address
    stage.scale = Float(step.scale)
    stage.residual = stream.address
    stage.residual_scale = Float(step.residualScale)
    try append(stage, rows: next.count)
    stream = next
  }

  /// A stage that is not a product.
  mutating func append(_ stage: DecodingStage) { stages.append(stage) }

  /// Adds a product, or a gather, of which a block has some of the rows.
  ///
  /// - Parameter sides: 2 if the stage has the rows of two matrices.
  private mutating func append(_ stage: DecodingStage, rows: Int, sides: Int = 1) throws {
    var stage = stage
    let blocks = try DeviceQueue.shared(for: device).device.limits.decodingBlocks
    stage.block_rows = Int32(rows / blocks)
    stage.more_rows = Int32(rows % blocks)
    stages.append(stage)
    widest = max(widest, Int(stage.columns))
    mostUnits = max(
      mostUnits,
      sides * rows.pieces(of: blocks) * Int(decoding_row_parts(Int(stage.columns), dtype.size)))
  }

  /// A vector of numbers without tags, which no step has written.
  mutating func vector(_ count: Int) throws -> DecodedVector {
    let numbers = keep(try .clearedOnDevice([count, 2], dtype: .float32, device: device))
    return DecodedVector(address: try numbers.deviceAddress(), count: count)
  }

  /// Keeps a tensor as long as the program.
  mutating func keep(_ tensor: Tensor) -> Tensor {
    kept.append(tensor)
    return tensor
  }

  /// The address of contiguous elements, kept as long as the program.
  mutating func address(of tensor: Tensor) throws -> UInt64 {
    guard tensor.device == device else { throw DecodingObjection("it is on several devices") }
    return try keep(tensor.detached().contiguous()).deviceAddress()
  }

  /// The address of a parameter in float32.
  mutating func numbers(of tensor: Tensor) throws -> UInt64 {
    try address(of: tensor.detached().cast(to: .float32))
  }

  /// The address of a norm's weight and its offset together, in float32.
  mutating func numbers(of norm: RMSNorm) throws -> UInt64 {
    let weight = try norm.weight.detached().cast(to: .float32)
    return try address(of: norm.weightOffset == 0 ? weight : weight + norm.weightOffset)
  }

  private mutating func product(_ input: DecodedInput, _ matrices: [Matrix]) throws
    -> DecodingStage
  {
    var stage = DecodingStage()
    stage.kind = Int32(decoding_product)
    stage.columns = Int32(input.vector.count)
    stage.input = input.vector.address
    stage.scale = 1
    stage.parts = Int32(decoding_row_parts(input.vector.count, dtype.size))
    stage.part_columns = Int32(decoding_part_columns(input.vector.count, dtype.size))
    switch input {
    case .plain: stage.input_kind = Int32(decoding_plain)
    case .normalized(_, let norm):
      stage.input_kind = Int32(decoding_normalized)
      stage.norm = try numbers(of: norm)
      stage.epsilon = Float(norm.epsilon)
    case .heads(_, let norm, let gate):
      let group = norm.weight.shape[0]
      // Whole warps sum the squares of a group.
      let grain = 2 * Int(warp_threads)
      guard norm.groups == 1, !norm.gatesFirst, group % grain == 0,
        input.vector.count / grain <= Int(decoding_most_squares)
      else {
        throw DecodingObjection(
          "heads of \(group) numbers are normalised, not of a multiple of \(grain)")
      }
      stage.input_kind = Int32(decoding_grouped)
      stage.group = Int32(group)
      stage.norm = try numbers(
        of: .concatenated(
          [Tensor](repeating: norm.weight.detached(), count: input.vector.count / group), 0))
      stage.epsilon = Float(norm.epsilon)
      if let gate {
        stage.gate = gate.address
        stage.gate_kind = Int32(norm.gate == .swish ? decoding_swish : decoding_sigmoid)
      }
    }
    guard matrices.count <= Int(decoding_matrices) else {
      throw DecodingObjection(
        "a layer has \(matrices.count) projections, more than \(decoding_matrices)")
    }
    stage.matrix_count = Int32(matrices.count)
    var descriptions: [DecodingMatrix] = []
    var first = 0
    for matrix in matrices {
      let rows = matrix.weight.shape[0]
      guard matrix.weight.dtype == dtype else {
        throw DecodingObjection("its parameters have several dtypes")
      }
      // Bulk copies are of whole chunks.
      guard matrix.weight.shape[1] == input.vector.count,
        input.vector.count * dtype.size % Int(chunk_bytes) == 0
      else {
        throw DecodingObjection(
          "a row of \(input.vector.count) numbers is not a multiple of \(chunk_bytes) bytes")
      }
      descriptions.append(
        DecodingMatrix(
          weight: try address(of: matrix.weight), rows: Int32(rows), first: Int32(first)))
      first += rows
    }
    stage.rows = Int32(first)
    if matrices.contains(where: { $0.bias != nil }) {
      stage.bias = try numbers(
        of: .concatenated(
          matrices.map {
            try $0.bias?.cast(to: .float32)
              ?? .zeros([$0.weight.shape[0]], dtype: .float32, device: device)
          }, 0))
    }
    withUnsafeMutableBytes(of: &stage.matrices) { target in
      descriptions.withUnsafeBytes { target.copyMemory(from: $0) }
    }
    return stage
  }
}
