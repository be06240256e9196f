import AttentionCUDA

/// The owner of memory that the caller keeps alive.
private struct Caller: Sendable {}

extension Tensor {
  /// A view of host memory that the caller keeps alive; `base` may be nil if there are no elements.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the strides are invalid.
  package static func viewing(
    _ base: UnsafeMutableRawPointer?, shape: Shape, strides: [Int], dtype: DType
  ) throws -> Tensor {
    let strides = try usable(strides, shape)
    let bytes = extent(shape, strides) * dtype.size
    let memory =
      if let base, bytes > 0 {
        HostMemory(borrowing: base, byteCount: bytes, owner: Caller())
      } else {
        try HostMemory(byteCount: 0)
      }
    return Tensor(
      storage: .host(memory), shape: shape, strides: strides, offset: 0, dtype: dtype)
  }

  /// A view of memory of the queue's GPU that the caller keeps alive until the work enqueued on it is done.
  package static func viewing(
    deviceAddress: UInt64, shape: Shape, strides: [Int], dtype: DType, in queue: DeviceQueue
  ) throws -> Tensor {
    let strides = try usable(strides, shape)
    let memory = DeviceMemory(
      borrowing: deviceAddress, byteCount: extent(shape, strides) * dtype.size,
      in: queue.stream)
    return Tensor(
      storage: .device(memory, queue), shape: shape, strides: strides, offset: 0, dtype: dtype)
  }

  /// The strides, if they are valid; those of a contiguous tensor if there are no elements, since strides
  /// then have no meaning.
  private static func usable(_ strides: [Int], _ shape: Shape) throws -> [Int] {
    guard try shape.validated(elementSize: MemoryLayout<Double>.size) > 0 else {
      return shape.contiguousStrides
    }
    var last = 0
    for (extent, stride) in zip(shape, strides) {
      let (distance, isFar) = (extent - 1).multipliedReportingOverflow(by: stride)
      let (sum, isTooFar) = last.addingReportingOverflow(distance)
      guard stride >= 0, !isFar, !isTooFar, sum < farthest else {
        throw TensorError.invalidArgument(
          "strides", was: "\(strides)", mustBe: "at least 0, and within memory for shape \(shape)")
      }
      last = sum
    }
    return strides
  }

  /// The number of elements from the first to the last in memory, gaps included.
  private static func extent(_ shape: Shape, _ strides: [Int]) -> Int {
    shape.contains(0) ? 0 : zip(shape, strides).reduce(1) { $0 + ($1.0 - 1) * $1.1 }
  }

  /// More elements than any memory holds.
  private static let farthest = 1 << 57

  /// Whether all elements have distinct addresses, so that they can be written.
  package var hasDistinctPlaces: Bool {
    var reach = 1
    let axes = (0..<rank).filter { shape[$0] > 1 }.sorted { strides[$0] < strides[$1] }
    for axis in axes {
      guard strides[axis] >= reach else { return false }
      reach += (shape[axis] - 1) * strides[axis]
    }
    return true
  }

  /// ``filling(_:dtype:_:)`` into the memory that `place` views, if it is contiguous and has this shape and
  /// dtype; otherwise into fresh memory.
  package static func filling(
    _ shape: Shape, dtype: DType, into place: Tensor?,
    _ fill: (UnsafeMutableRawPointer) throws -> Void
  ) throws -> Tensor {
    guard let place, place.receives(shape, dtype), case .host(let memory) = place.storage
    else { return try filling(shape, dtype: dtype, fill) }
    try fill(memory.base + place.offset * dtype.size)
    return place
  }

  /// The same for a `place` with any strides whose last axis is contiguous: `fill` receives the address of the
  /// first element and the strides.
  package static func fillingRows(
    _ shape: Shape, dtype: DType, into place: Tensor?,
    _ fill: (UnsafeMutableRawPointer, _ strides: [Int]) throws -> Void
  ) throws -> Tensor {
    guard let place, place.shape == shape, place.dtype == dtype, place.strides.last == 1,
      case .host(let memory) = place.storage
    else { return try filling(shape, dtype: dtype) { try fill($0, shape.contiguousStrides) } }
    try fill(memory.base + place.offset * dtype.size, place.strides)
    return place
  }

  /// ``onDevice(_:dtype:device:)`` in the memory that `place` views, under the same conditions.
  package static func onDevice(
    _ shape: Shape, dtype: DType, device: Device, into place: Tensor?
  ) throws -> Tensor {
    guard let place, place.device == device, place.receives(shape, dtype)
    else { return try onDevice(shape, dtype: dtype, device: device) }
    return place
  }

  private func receives(_ shape: Shape, _ dtype: DType) -> Bool {
    self.shape == shape && self.dtype == dtype && isContiguous
  }

  /// Whether the elements are those of `other`, in the same memory.
  private func isSame(as other: Tensor) -> Bool {
    guard dtype == other.dtype, strides == other.strides else { return false }
    let place = offset * dtype.size
    switch (storage, other.storage) {
    case (.host(let own), .host(let others)):
      return own.base + place == others.base + other.offset * dtype.size
    case (.device(let own, _), .device(let others, _)):
      return own.address + UInt64(place) == others.address + UInt64(other.offset * dtype.size)
    default: return false
    }
  }

  /// Writes the elements into the memory that `target` views, in its dtype and strides. `target` has this
  /// shape and device and is not yet shared. Elements that are already there are not copied.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if its shape or device differs.
  package func write(to target: Tensor) throws {
    guard target.shape == shape, target.device == device else {
      throw TensorError.invalidArgument(
        "target", was: "\(target.shape) on \(target.device)", mustBe: "\(shape) on \(device)")
    }
    guard elementCount > 0, !isSame(as: target) else { return }
    switch target.storage {
    case .device:
      if dtype == target.dtype {
        try detached().copyElements(to: target)
      } else {
        try detached().castElements(to: target)
      }
    case .host(let memory):
      try detached().cast(to: target.dtype)
        .copyElements(to: memory.base + target.offset * target.dtype.size, strides: target.strides)
    case .absent: break
    }
  }
}
