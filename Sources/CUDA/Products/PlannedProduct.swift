import AttentionCUDAInterface
import Synchronization

/// A matrix product, or a batch of them, with the algorithm that cuBLASLt chose for it.
///
/// cuBLASLt has matrices by columns. A matrix by rows is the transposed one by columns, so what is asked
/// for is resultᵀ = rightᵀ leftᵀ: the operands change places, and nothing moves.
public final class PlannedProduct: @unchecked Sendable {
  /// Memory that a launch needs beside its operands.
  public let workspaceBytes: Int
  private let shape: ProductShape
  private let handle: ProductHandle
  private let product: OpaquePointer?
  /// Of the right operand, the left one and the result.
  private let layouts: [OpaquePointer?]
  private var choice: cuda_product_choice

  /// The product of a shape on a device, chosen once.
  ///
  /// - Throws: ``CUDAError/unavailable(_:)`` if cuBLASLt is not there, ``CUDAError/call(_:code:text:)``
  ///   if it cannot compute this.
  public static func planned(_ shape: ProductShape, on device: CUDADevice) throws -> PlannedProduct
  {
    let handle = try ProductHandle.shared(device)
    return try handle.plan(shape) { try PlannedProduct(shape, handle) }
  }

  private init(_ shape: ProductShape, _ handle: ProductHandle) throws {
    self.shape = shape
    self.handle = handle
    let library = handle.library
    try handle.device.makeCurrent()
    var made = Descriptors(library)
    defer { made.destroyUnlessKept() }
    let product = try made.product(shape.element)
    try made.transpose(CUDA_PRODUCT_TRANSPOSE_A, shape.right.isTransposed)
    try made.transpose(CUDA_PRODUCT_TRANSPOSE_B, shape.left.isTransposed)
    let right = try made.layout(shape.right, shape.depth, shape.columns, shape)
    let left = try made.layout(shape.left, shape.rows, shape.depth, shape)
    let result = try made.layout(shape.result, shape.rows, shape.columns, shape)
    let preference = try made.preference(shape, handle.device.limits)
    var choice = cuda_product_choice()
    var found: Int32 = 0
    try library.call("cublasLtMatmulAlgoGetHeuristic") {
      $0.cublasLtMatmulAlgoGetHeuristic(
        handle.pointer, product, right, left, result, result, preference, 1, &choice, &found)
    }
    let chosen = choice
    try library.call("cublasLtMatmulAlgoGetHeuristic") { _ in
      found > 0 ? chosen.status : ProductHandle.notSupported
    }
    self.product = product
    layouts = [right, left, result]
    self.choice = choice
    workspaceBytes = choice.workspace_bytes
    made.keep()
  }

  deinit {
    // There is nobody left to tell of a failure.
    try? handle.library.call("cublasLtMatmulDescDestroy") {
      $0.cublasLtMatmulDescDestroy(product)
    }
    for layout in layouts {
      try? handle.library.call("cublasLtMatrixLayoutDestroy") {
        $0.cublasLtMatrixLayoutDestroy(layout)
      }
    }
  }

  /// Queues the product. Operands and workspace must live until this returns.
  ///
  /// - Parameters:
  ///   - left: addresses on the device, aligned as the shape says.
  ///   - workspace: ``workspaceBytes`` of memory.
  public func launch(
    left: UInt64, right: UInt64, result: UInt64, workspace: DeviceMemory?, in stream: Stream
  ) throws {
    try handle.device.makeCurrent()
    func run(_ one: UnsafeRawPointer, _ zero: UnsafeRawPointer) throws {
      try withUnsafePointer(to: choice) { choice in
        try handle.library.call("cublasLtMatmul") {
          // The algorithm is the choice's first field.
          $0.cublasLtMatmul(
            handle.pointer, product, one, right, layouts[0], left, layouts[1], zero, result,
            layouts[2], result, layouts[2], choice, workspace?.address ?? 0, workspaceBytes,
            stream.handle)
        }
      }
    }
    // The factors have the type of the sums.
    if shape.element == .float64 {
      try withUnsafeBytes(of: (1.0, 0.0)) {
        guard let base = $0.baseAddress else { return }
        try run(base, base + MemoryLayout<Double>.size)
      }
    } else {
      try withUnsafeBytes(of: (Float(1), Float(0))) {
        guard let base = $0.baseAddress else { return }
        try run(base, base + MemoryLayout<Float>.size)
      }
    }
  }
}

/// cuBLASLt on one device, with the products that were chosen there.
final class ProductHandle: @unchecked Sendable {
  /// What cuBLASLt says of a product that no algorithm computes.
  static let notSupported: Int32 = 15
  /// Products whose choices are kept; a program that needs more begins anew.
  private static let planLimit = 4096

  let device: CUDADevice
  let library: ProductLibrary
  let pointer: OpaquePointer?
  private let plans = Mutex<[ProductShape: PlannedProduct]>([:])

  private static let handles = Mutex<[Int: ProductHandle]>([:])

  static func shared(_ device: CUDADevice) throws -> ProductHandle {
    try handles.withLock { handles in
      if let handle = handles[device.index] { return handle }
      let handle = try ProductHandle(device)
      handles[device.index] = handle
      return handle
    }
  }

  private init(_ device: CUDADevice) throws {
    self.device = device
    library = try ProductLibrary.shared()
    try device.makeCurrent()
    var pointer: OpaquePointer?
    try library.call("cublasLtCreate") { $0.cublasLtCreate(&pointer) }
    self.pointer = pointer
  }

  func plan(_ shape: ProductShape, make: () throws -> PlannedProduct) throws -> PlannedProduct {
    try plans.withLock { plans in
      if let plan = plans[shape] { return plan }
      let plan = try make()
      if plans.count >= Self.planLimit { plans = [:] }
      plans[shape] = plan
      return plan
    }
  }
}
