import AttentionOperators
import AttentionInterface
import AttentionTensors

/// Where a call runs, and how it sees the caller's tensors.
struct CallSite {
  let device: Device
  /// Over the call's stream; nil on the processor.
  private let queue: DeviceQueue?
  /// Whether tensors are their shapes and dtypes only: nothing will be computed.
  let isQuestion: Bool

  /// Runs `body` where the call asks to be run: on a GPU its work goes into the call's stream.
  static func run(_ call: some InterfaceCall, _ body: (CallSite) throws -> Void) throws {
    let device = try Device(number: call.device)
    guard case .cuda(let index) = device else {
      return try body(CallSite(device: device, queue: nil, isQuestion: false))
    }
    let queue = try DeviceQueue.borrowing(stream: OpaquePointer(call.stream), on: index)
    try queue.whileSelected {
      try body(CallSite(device: device, queue: queue, isQuestion: false))
    }
  }

  /// Where nothing is computed, for questions about a call.
  static func question(_ call: some InterfaceCall) throws -> CallSite {
    CallSite(device: try Device(number: call.device), queue: nil, isQuestion: true)
  }

  /// The tensor that the caller describes; nil if it is absent.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming what of it is wrong.
  func input(_ tensor: sa_tensor, _ name: String) throws -> Tensor? {
    guard tensor.is_present != 0 else { return nil }
    let dtype = try tensor.elementType(name)
    let (shape, strides) = try tensor.axes(name)
    if isQuestion { return try .placeholder(shape, dtype: dtype) }
    return try view(tensor, name, shape, strides, dtype)
  }

  /// The same of a tensor that a call cannot do without.
  func required(_ tensor: sa_tensor, _ name: String) throws -> Tensor {
    guard let found = try input(tensor, name) else { throw absence(of: name) }
    return found
  }

  /// A tensor that was computed before, or flows in, so that its shape and dtype are known; nil if it is
  /// absent.
  func optional(
    _ tensor: sa_tensor, _ name: String, _ shape: Shape, _ dtype: DType
  ) throws -> Tensor? {
    try check(input(tensor, name), name, shape, dtype)
  }

  /// `tensor`, if it has this shape and dtype and is where the call runs.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)``
  func check(
    _ tensor: Tensor?, _ name: String, _ shape: Shape, _ dtype: DType
  ) throws -> Tensor? {
    guard let tensor else { return nil }
    guard tensor.shape == shape, tensor.dtype == dtype, tensor.device == device else {
      throw AttentionError.invalidArgument(
        name, was: "\(tensor.dtype.rawValue) \(tensor.shape) on \(tensor.device)",
        mustBe: "\(dtype.rawValue) \(shape) on \(device)")
    }
    return tensor
  }

  /// The same of a tensor that a call cannot do without.
  func required(
    _ tensor: sa_tensor, _ name: String, _ shape: Shape, _ dtype: DType
  ) throws -> Tensor {
    guard let found = try optional(tensor, name, shape, dtype) else { throw absence(of: name) }
    return found
  }

  func absence(of name: String) -> AttentionError {
    .invalidArgument(name, was: "absent", mustBe: "present")
  }

  /// Cumulative lengths, `length` tokens being packed. Where nothing is computed and they cannot be
  /// read, they are those of sequences of equal lengths.
  func cumulativeLengths(_ tensor: sa_tensor, length: Int) throws -> Tensor? {
    let name = "cumulative_lengths"
    guard isQuestion, tensor.is_present != 0 else { return try input(tensor, name) }
    let dtype = try tensor.elementType(name)
    let (shape, strides) = try tensor.axes(name)
    let isReadable = device == .cpu || tensor.is_on_host != 0
    if isReadable, tensor.data != nil {
      return try .viewing(tensor.data, shape: shape, strides: strides, dtype: dtype)
    }
    guard dtype == .int32, shape.allSatisfy({ $0 <= Self.mostBounds }) else {
      throw AttentionError.invalidArgument(
        name, was: "\(dtype.rawValue) \(shape)",
        mustBe: "int32, of at most \(Self.mostBounds) numbers")
    }
    return try .evenLengths(shape, total: length)
  }

  /// Cumulative lengths that are made up: so many at most.
  private static let mostBounds = 1 << 20

  /// The view of a tensor that results are written to; nil if it is absent.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` unless it has a place for each element.
  func target(_ tensor: sa_tensor, _ name: String) throws -> Tensor? {
    guard let view = try input(tensor, name) else { return nil }
    guard view.hasDistinctPlaces else {
      throw AttentionError.invalidArgument(
        "strides of \(name)", was: "\(view.strides)",
        mustBe: "such that no two elements of \(view.shape) are at one place")
    }
    return view
  }

  /// The same of a result whose shape and dtype are known.
  func target(
    _ tensor: sa_tensor, _ name: String, _ shape: Shape, _ dtype: DType
  ) throws -> Tensor? {
    try check(target(tensor, name), name, shape, dtype)
  }

  /// The same of a result that a call cannot do without, and whose shape and dtype are known.
  func requiredTarget(
    _ tensor: sa_tensor, _ name: String, _ shape: Shape, _ dtype: DType
  ) throws -> Tensor {
    guard let view = try target(tensor, name, shape, dtype) else { throw absence(of: name) }
    return view
  }

  /// The view that the gradient of `input` is written to.
  func target(
    gradientOf input: sa_tensor, _ tensor: sa_tensor, _ name: String
  ) throws -> Tensor? {
    let nameOfGradient = "\(name)_gradient"
    guard tensor.is_present != 0 else { return nil }
    guard input.is_present != 0 else {
      throw AttentionError.invalidArgument(
        nameOfGradient, was: "present", mustBe: "absent, as \(name)")
    }
    let dtype = try input.elementType(name)
    guard dtype.isFloatingPoint else {
      throw AttentionError.invalidArgument(
        nameOfGradient, was: "present", mustBe: "absent, as \(name) is \(dtype.rawValue)")
    }
    return try target(tensor, nameOfGradient, input.axes(name).shape, dtype)
  }

  private func view(
    _ tensor: sa_tensor, _ name: String, _ shape: Shape, _ strides: [Int], _ dtype: DType
  ) throws -> Tensor {
    let address = UInt(bitPattern: tensor.data)
    guard address != 0 || shape.contains(0) else {
      throw AttentionError.invalidArgument("data of \(name)", was: "NULL", mustBe: "an address")
    }
    guard address % UInt(dtype.size) == 0 else {
      throw AttentionError.invalidArgument(
        "data of \(name)", was: "at \(address)", mustBe: "at a multiple of \(dtype.size) bytes")
    }
    if let queue, tensor.is_on_host == 0 {
      return try .viewing(
        deviceAddress: UInt64(address), shape: shape, strides: strides, dtype: dtype, in: queue)
    }
    return try .viewing(tensor.data, shape: shape, strides: strides, dtype: dtype)
  }
}

extension Device {
  /// - Parameter number: SA_CPU or a GPU's number.
  init(number: Int32) throws {
    guard number >= SA_CPU else {
      throw AttentionError.invalidArgument(
        "device", was: "\(number)", mustBe: "\(SA_CPU) for the processor, or a GPU's number")
    }
    self = number == SA_CPU ? .cpu : .cuda(Int(number))
  }
}

extension sa_tensor {
  fileprivate func elementType(_ name: String) throws -> DType {
    switch sa_dtype(UInt32(bitPattern: dtype)) {
    case SA_FLOAT32: return .float32
    case SA_BFLOAT16: return .bfloat16
    case SA_FLOAT16: return .float16
    case SA_FLOAT64: return .float64
    case SA_INT32: return .int32
    case SA_INT64: return .int64
    case SA_BOOL: return .bool
    default:
      throw AttentionError.invalidArgument(
        "dtype of \(name)", was: "\(dtype)", mustBe: "one that sa_dtype lists")
    }
  }

  /// Extents and strides.
  fileprivate func axes(_ name: String) throws -> (shape: Shape, strides: [Int]) {
    guard (0...SA_MAX_RANK).contains(rank) else {
      throw AttentionError.invalidArgument(
        "rank of \(name)", was: "\(rank)", mustBe: "0 to \(SA_MAX_RANK)")
    }
    let count = Int(rank)
    let extents = withUnsafeBytes(of: shape) { Array($0.bindMemory(to: Int.self).prefix(count)) }
    let steps = withUnsafeBytes(of: strides) { Array($0.bindMemory(to: Int.self).prefix(count)) }
    func check(_ numbers: [Int], _ what: String) throws {
      guard numbers.allSatisfy({ $0 >= 0 }) else {
        throw AttentionError.invalidArgument(
          "\(what) of \(name)", was: "\(numbers)", mustBe: "at least 0 on every axis")
      }
    }
    try check(extents, "shape")
    try check(steps, "strides")
    return (Shape(extents), steps)
  }
}
