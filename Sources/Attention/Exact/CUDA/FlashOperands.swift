import AttentionCUDA
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
  func place(_ rows: DeviceRows) -> DeviceRows.Place {
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
  init(_ inputs: ExactInputs, _ element: FlashElement, _ operands: FlashOperands) throws {
    let lengths = RowLengths(inputs, element, operands)
    (queries, queryLengths) = try lengths.divide(inputs.queries)
    (keys, keyLengths) = try lengths.divide(inputs.keys)
    values = try DeviceRows(
      inputs.values, paddedTo: FlashTile.padded(inputs.problem.valueDimension))
  }
}

/// `Operands` of `attention/operands.cuh`, field by field.
struct DeviceOperands: BitwiseCopyable {
  private let queries: DeviceRows.Place
  private let keys: DeviceRows.Place
  private let values: DeviceRows.Place
  /// The address of the list of sequences; 0 where nobody reads it.
  let segments: UInt64
  private let whole: DeviceSegment
  private let scales: UInt64
  private let keyMask: UInt64
  private let queryLengths: UInt64
  private let keyLengths: UInt64
  private let terms: DeviceTerms
  private let scale: Float
  private let batch: Int32
  private let queryLength: Int32
  private let keyLength: Int32
  private let heads: Int32
  private let headsPerGroup: Int32

  /// Queues what must be computed of the inputs first, but for the rows.
  init(
    _ inputs: ExactInputs, _ features: FlashFeatures, _ rows: FlashRows, _ operands: FlashOperands
  ) throws {
    let problem = inputs.problem
    queries = operands.place(rows.queries)
    keys = operands.place(rows.keys)
    values = operands.place(rows.values)
    (queryLengths, keyLengths) = (rows.queryLengths, rows.keyLengths)
    segments =
      features.isPacked || inputs.logitDecay != nil
      ? try operands.address(
        inputs.segments.map { DeviceSegment($0, problem.alignment) }, "sequences") : 0
    whole = DeviceSegment(inputs.segments[0], problem.alignment)
    scales = try operands.address(inputs.scales, .float32)
    scale = inputs.scale.first ?? 1
    keyMask = try operands.address(inputs.keyMask, .bool)
    terms = try DeviceTerms(inputs, segments: segments, operands)
    batch = Int32(problem.batch)
    queryLength = Int32(problem.queryLength)
    keyLength = Int32(problem.keyLength)
    heads = Int32(problem.heads)
    headsPerGroup = Int32(inputs.headsPerGroup)
  }
}

/// A sequence as `attention/mask.cuh` declares it.
struct DeviceSegment: BitwiseCopyable {
  var batch: Int32
  var queryStart: Int32
  var queryCount: Int32
  var keyStart: Int32
  var place: Int32
  var low: Int32
  var high: Int32
  var keys: Int32

  /// Outside every sequence, with room for adding a place.
  private static let unlimited = 1 << 29

  /// - Parameter alignment: which key query 0 stands at.
  init(_ segment: ExactInputs.Segment, _ alignment: Alignment) {
    func limited(_ place: Int) -> Int32 {
      Int32(max(-Self.unlimited, min(Self.unlimited, place)))
    }
    batch = Int32(segment.batch)
    queryStart = Int32(segment.queryStart)
    queryCount = Int32(segment.queryCount)
    keyStart = Int32(segment.keyStart)
    place = alignment == .bottomRight ? Int32(segment.keyCount - segment.queryCount) : 0
    low = limited(segment.band.low)
    high = limited(segment.band.high)
    keys = Int32(segment.keyCount)
  }
}

/// What is done to scores, as `attention/terms.cuh` declares it.
struct DeviceTerms: BitwiseCopyable {
  private let softcap: Float
  private let unused: Int32 = 0
  private let slopes: UInt64
  private let bias: UInt64
  private let biasBatch: Int64
  private let biasHead: Int64
  private let biasQuery: Int64
  private let biasKey: Int64
  private let decaySums: UInt64

  init(_ inputs: ExactInputs, segments: UInt64, _ operands: FlashOperands) throws {
    softcap = inputs.softcap ?? 0
    slopes = try operands.address(inputs.slopes, "ALiBi slopes")
    bias = try inputs.bias.map { try operands.address(holding: $0) } ?? 0
    func stride(_ axis: Int) -> Int64 { Int64(inputs.bias?.strides[axis] ?? 0) }
    (biasBatch, biasHead, biasQuery, biasKey) = (stride(0), stride(1), stride(2), stride(3))
    decaySums =
      try inputs.logitDecay.map { _ in
        try LogitDecaySums(inputs, segments: segments, operands).forward()
      } ?? 0
  }
}
