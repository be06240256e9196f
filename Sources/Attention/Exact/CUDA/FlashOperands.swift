import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// What launches of one call read, held on the device as long as this object lives: until they are
/// queued.
final class FlashOperands {
  let queue: DeviceQueue
  private var tensors: [Tensor] = []
  private var memories: [DeviceMemory] = []

  /// As many tensors as a call without options reads, or a few more.
  private static let usualTensors = 8

  init(_ device: Device) throws {
    queue = try .shared(for: device)
    tensors.reserveCapacity(Self.usualTensors)
  }

  /// The address of a copy; 0, the null pointer, where there is nothing to copy.
  func address<T: BitwiseCopyable & Sendable>(_ values: [T]?, _ label: String) throws -> UInt64 {
    guard let values else { return 0 }
    return hold(try queue.upload(values, label))
  }

  /// The address of a tensor on the device, dense; 0 where there is none.
  func address(_ tensor: Tensor?, _ dtype: DType) throws -> UInt64 {
    guard let dense = try tensor?.cast(to: dtype).contiguous() else { return 0 }
    return try address(holding: dense)
  }

  /// The address of a tensor as it lies.
  func address(holding tensor: Tensor) throws -> UInt64 {
    tensors.append(tensor)
    return try tensor.deviceAddress()
  }

  /// Where rows are.
  func place(_ rows: DeviceRows) -> AttentionRows {
    tensors.append(rows.tensor)
    return rows.place
  }

  /// The address of fresh memory.
  func fresh(_ byteCount: Int, _ label: String) throws -> UInt64 {
    hold(try queue.memory(byteCount, label))
  }

  /// The address of fresh memory, all zeros.
  func zeros(_ byteCount: Int, _ label: String) throws -> UInt64 {
    let memory = try queue.memory(byteCount, label)
    try queue.stream.fill(memory, with: 0)
    return hold(memory)
  }

  private func hold(_ memory: DeviceMemory) -> UInt64 {
    memories.append(memory)
    return memory.address
  }
}

/// Queries, keys and values as kernels read them.
struct FlashRows {
  let queries: DeviceRows
  let keys: DeviceRows
  let values: DeviceRows
  /// Addresses of the reciprocals of queries' and keys' lengths; 0 where there are none.
  let queryLengths: UInt64
  let keyLengths: UInt64

  /// Queues what must be computed of the inputs first.
  init(_ inputs: ExactArguments, _ element: FlashElement, _ operands: FlashOperands) throws {
    let lengths = RowLengths(inputs, element, operands)
    (queries, queryLengths) = try lengths.divide(inputs.queries)
    (keys, keyLengths) = try lengths.divide(inputs.keys)
    values = try DeviceRows(
      inputs.values, paddedTo: FlashTile.padded(inputs.problem.valueDimension))
  }
}

extension AttentionOperands {
  /// Queues what must be computed of the inputs first, but for the rows.
  init(
    _ inputs: ExactArguments, _ features: FlashFeatures, _ rows: FlashRows,
    _ operands: FlashOperands
  ) throws {
    let problem = inputs.problem
    let segments =
      features.isPacked || inputs.logitDecay != nil
      ? try operands.address(
        inputs.segments.map { AttentionSegment($0, problem.alignment) }, "sequences") : 0
    self.init(
      queries: operands.place(rows.queries), keys: operands.place(rows.keys),
      values: operands.place(rows.values), segments: segments,
      whole: AttentionSegment(inputs.segments[0], problem.alignment),
      scales: try operands.address(inputs.scales, .float32),
      key_mask: try operands.address(inputs.keyMask, .bool), query_lengths: rows.queryLengths,
      key_lengths: rows.keyLengths,
      terms: try AttentionTerms(inputs, segments: segments, operands),
      scale: inputs.scale.first ?? 1, batch: Int32(problem.batch),
      query_length: Int32(problem.queryLength), key_length: Int32(problem.keyLength),
      heads: Int32(problem.heads), heads_per_group: Int32(inputs.headsPerGroup))
  }
}

extension AttentionSegment {
  /// Outside every sequence, with room for adding a place.
  private static let unlimited = 1 << 29

  /// - Parameter alignment: which key query 0 stands at.
  init(_ segment: ExactArguments.Segment, _ alignment: Alignment) {
    func limited(_ place: Int) -> Int32 {
      Int32(max(-Self.unlimited, min(Self.unlimited, place)))
    }
    self.init(
      batch: Int32(segment.batch), query_start: Int32(segment.queryStart),
      query_count: Int32(segment.queryCount), key_start: Int32(segment.keyStart),
      place: alignment == .bottomRight ? Int32(segment.keyCount - segment.queryCount) : 0,
      low: limited(segment.band.low), high: limited(segment.band.high),
      keys: Int32(segment.keyCount))
  }
}
