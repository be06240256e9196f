extension Tensor {
  /// A contiguous tensor written by `fill`, which receives uninitialised memory.
  ///
  /// Every CPU kernel makes its results this way. `fill` must write all ``elementCount`` elements.
  public static func filling<T: Scalar>(
    _ shape: Shape, as type: T.Type, _ fill: (UnsafeMutablePointer<T>) throws -> Void
  ) throws -> Tensor {
    try filling(shape, dtype: T.dtype) { try fill($0.assumingMemoryBound(to: T.self)) }
  }

  /// A contiguous tensor of `dtype` written by `fill`, which receives uninitialised memory.
  public static func filling(
    _ shape: Shape, dtype: DType, _ fill: (UnsafeMutableRawPointer) throws -> Void
  ) throws -> Tensor {
    let count = try shape.validated(elementSize: dtype.size)
    let memory = try HostMemory(byteCount: count * dtype.size)
    try fill(memory.base)
    return Tensor(
      storage: .host(memory), shape: shape, strides: shape.contiguousStrides, offset: 0,
      dtype: dtype)
  }

  /// Several contiguous tensors written by `fill`, which receives their addresses in order.
  public static func filling(
    _ results: [(shape: Shape, dtype: DType)],
    _ fill: ([UnsafeMutableRawPointer]) throws -> Void
  ) throws -> [Tensor] {
    var addresses: [UnsafeMutableRawPointer] = []
    let tensors = try results.map {
      try Tensor.filling($0.shape, dtype: $0.dtype) { addresses.append($0) }
    }
    try withExtendedLifetime(tensors) { try fill(addresses) }
    return tensors
  }

  /// Calls `body` with the address of the first element; the others follow at ``strides``.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the elements are on a GPU.
  public func withUnsafeRawPointer<R>(_ body: (UnsafeRawPointer) throws -> R) throws -> R {
    let elements = try hostElements()
    return try withExtendedLifetime(elements) { try body(elements.base) }
  }

  /// Calls `body` with the address of the first element, read as `type`.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the tensor has another dtype or its
  ///   elements are on a GPU.
  public func withUnsafePointer<T: Scalar, R>(
    to type: T.Type, _ body: (UnsafePointer<T>) throws -> R
  ) throws -> R {
    guard dtype == T.dtype else {
      throw TensorError.invalidArgument(
        "dtype", was: dtype.rawValue, mustBe: T.dtype.rawValue)
    }
    return try withUnsafeRawPointer { try body($0.assumingMemoryBound(to: T.self)) }
  }

  /// The elements in host memory, for loops that look the address up once.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if they are on a GPU.
  public func hostElements() throws -> HostElements {
    guard case .host(let memory) = storage else {
      if isPlaceholder {
        throw TensorError.invalidArgument(
          "tensor", was: "a description of \(shape)", mustBe: "one with elements, which are read")
      }
      throw TensorError.invalidArgument("device", was: "\(device)", mustBe: "cpu")
    }
    return HostElements(UnsafeRawPointer(memory.base + offset * dtype.size), owner: memory)
  }
}

/// A tensor's elements in host memory, kept alive by this value.
public struct HostElements: @unchecked Sendable {
  /// The address of the first element.
  public let base: UnsafeRawPointer
  private let owner: HostMemory

  init(_ base: UnsafeRawPointer, owner: HostMemory) {
    self.base = base
    self.owner = owner
  }
}
