import AttentionCUDA
import Synchronization

/// Rows that are appended at the end and dropped at the front, as in a key/value cache, at an amortised
/// constant cost per row.
///
/// Each batch entry has spare capacity after its rows. A row is written once, so tensors taken earlier do
/// not change. Copies of this value share the storage: the first to append takes the spare capacity, the
/// other moves to storage of its own.
public struct GrowableRows: Sendable {
  /// Storage for `capacity` rows per batch entry, and how many of them are taken.
  private final class Buffer: Sendable {
    let storage: Storage
    let capacity: Int
    private let taken: Atomic<Int>

    init(storage: Storage, capacity: Int, taken: Int) {
      self.storage = storage
      self.capacity = capacity
      self.taken = Atomic(taken)
    }

    /// Takes `count` rows from `end` on; false if they are already taken or do not fit.
    func take(_ count: Int, from end: Int) -> Bool {
      end + count <= capacity
        && taken.compareExchange(
          expected: end, desired: end + count, ordering: .acquiringAndReleasing
        ).exchanged
    }
  }

  /// The smallest capacity, in rows, so that the first appends do not each reallocate.
  private static let smallestCapacity = 16

  /// The number of batch entries, each with rows of its own.
  public let batch: Int
  /// The shape of one row.
  public let rowShape: Shape
  public let dtype: DType
  /// The device of the rows.
  public let device: Device

  private var buffer: Buffer?
  private var start = 0
  private var end = 0

  /// The number of rows of each batch entry.
  public var count: Int { end - start }

  /// The size of the storage in bytes, spare capacity included.
  public var byteCount: Int { buffer?.storage.byteCount ?? 0 }

  /// An empty value.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if an extent is negative.
  public init(batch: Int, rowShape: Shape, dtype: DType, device: Device = .cpu) throws {
    _ = try Shape([batch] + rowShape.dimensions).validated(
      elementSize: dtype.size, argument: "rowShape")
    self.batch = batch
    self.rowShape = rowShape
    self.dtype = dtype
    self.device = device
  }

  /// The rows, [batch, count] + rowShape: a view, strided if there is more than one batch entry.
  public func tensor() throws -> Tensor {
    let shape = Shape([batch, count] + rowShape.dimensions)
    guard let buffer else { return try .zeros(shape, dtype: dtype, device: device) }
    var strides = shape.contiguousStrides
    strides[0] = buffer.capacity * rowShape.elementCount
    return Tensor(
      storage: buffer.storage, shape: shape, strides: strides,
      offset: start * rowShape.elementCount, dtype: dtype)
  }

  /// Appends `rows`, [batch, n] + rowShape, to the rows of each batch entry.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the shape, dtype or device differs.
  public mutating func append(_ rows: Tensor) throws {
    let agrees =
      rows.rank == rowShape.rank + 2 && rows.shape[0] == batch
      && Array(rows.shape.dimensions.dropFirst(2)) == rowShape.dimensions && rows.dtype == dtype
    guard agrees else {
      throw TensorError.invalidArgument(
        "rows", was: "\(rows.summary)",
        mustBe: "\(dtype.rawValue) [\(batch), n] followed by \(rowShape)")
    }
    guard rows.device == device else {
      throw TensorError.invalidArgument(
        "rows", was: "on \(rows.device)", mustBe: "on \(device), as those before")
    }
    let added = rows.shape[1]
    guard added > 0 else { return }
    let source = try rows.detached().contiguous()
    if buffer?.take(added, from: end) != true {
      try move(capacity: max(Self.smallestCapacity, 2 * (count + added)), taking: added)
    }
    if let buffer { try write(source, to: buffer, at: end) }
    end += added
  }

  /// Drops the first `dropped` rows, at most all. Storage much larger than the rest is replaced.
  public mutating func removeFirst(_ dropped: Int) throws {
    start += min(max(0, dropped), count)
    let sufficient = max(Self.smallestCapacity, 2 * count)
    if let buffer, buffer.capacity > 2 * sufficient { try move(capacity: sufficient, taking: 0) }
  }

  /// Copies the rows to new storage and takes `taking` more rows in it.
  private mutating func move(capacity: Int, taking: Int) throws {
    let rows = try tensor().contiguous()
    let shape = Shape([batch, capacity] + rowShape.dimensions)
    let bytes = try shape.validated(elementSize: dtype.size, argument: "rows") * dtype.size
    let storage: Storage =
      device == .cpu
      ? .host(try HostMemory(byteCount: bytes))
      : try Tensor.onDevice(shape, dtype: dtype, device: device).storage
    let moved = Buffer(storage: storage, capacity: capacity, taken: count + taking)
    try write(rows, to: moved, at: 0)
    (buffer, start, end) = (moved, 0, rows.shape[1])
  }

  /// Writes contiguous rows to each batch entry, from row `place` on.
  private func write(_ rows: Tensor, to buffer: Buffer, at place: Int) throws {
    let rowBytes = rowShape.elementCount * dtype.size
    let bytes = rows.shape[1] * rowBytes
    switch buffer.storage {
    case .host(let memory):
      try rows.withUnsafeRawPointer { base in
        for entry in 0..<batch {
          (memory.base + (entry * buffer.capacity + place) * rowBytes)
            .copyMemory(from: base + entry * bytes, byteCount: bytes)
        }
      }
    case .absent: break
    case .device:
      guard rows.elementCount > 0 else { return }
      var strides = rows.shape.contiguousStrides
      strides[0] = buffer.capacity * rowShape.elementCount
      try rows.copyElements(
        to: Tensor(
          storage: buffer.storage, shape: rows.shape, strides: strides,
          offset: place * rowShape.elementCount, dtype: dtype))
    }
  }
}
