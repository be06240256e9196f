import AttentionCUDA

/// Who keeps memory alive that a tensor views: whoever called.
private struct Caller: Sendable {}

extension Tensor {
  /// A view of elements in memory of the processor that the caller keeps alive; nil where there are none.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the elements cannot lie in memory so.
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

  /// The same in memory of the queue's GPU, kept alive until the work queued on it is done.
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

  /// The strides, if elements can lie in memory so; those of a contiguous tensor where there are none, whose
  /// strides mean nothing.
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

  /// The elements from the first to the last in memory.
  private static func extent(_ shape: Shape, _ strides: [Int]) -> Int {
    shape.contains(0) ? 0 : zip(shape, strides).reduce(1) { $0 + ($1.0 - 1) * $1.1 }
  }

  /// More elements than any memory has.
  private static let farthest = 1 << 57

  /// Whether no two elements are at the same place, so that they can be written.
  package var hasDistinctPlaces: Bool {
    var reach = 1
    let axes = (0..<rank).filter { shape[$0] > 1 }.sorted { strides[$0] < strides[$1] }
    for axis in axes {
      guard strides[axis] >= reach else { return false }
      reach += (shape[axis] - 1) * strides[axis]
    }
    return true
  }

  /// ``filling(_:dtype:_:)`` in the memory that `place` views, where that has a contiguous tensor of this
  /// shape and dtype; otherwise in fresh memory.
  package static func filling(
    _ shape: Shape, dtype: DType, into place: Tensor?,
    _ fill: (UnsafeMutableRawPointer) throws -> Void
  ) throws -> Tensor {
    guard let place, place.receives(shape, dtype), case .host(let memory) = place.storage
    else { return try filling(shape, dtype: dtype, fill) }
    try fill(memory.base + place.offset * dtype.size)
    return place
  }

  /// ``onDevice(_:dtype:device:)``, likewise.
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

  /// Writes the elements into the memory that `target` views, in its dtype and at its strides. The target
  /// has this shape, is where this tensor is, and nobody else reads it yet. What is there already stays.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if it has another shape or is elsewhere.
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
