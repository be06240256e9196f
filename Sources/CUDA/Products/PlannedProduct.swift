import AttentionCUDAInterface
import Synchronization

/// A matrix product, or a batch of them, with the algorithm that cuBLASLt chose for it.
///
/// cuBLASLt matrices are column-major, and a row-major matrix is its transpose in column-major order. So
/// resultᵀ = rightᵀ leftᵀ is computed: the operands are exchanged, and nothing is copied.
public final class PlannedProduct: @unchecked Sendable {
  /// Size of the workspace that a launch needs.
  public let workspaceBytes: Int
  private let shape: ProductShape
  private let handle: ProductHandle
  private let product: OpaquePointer?
  /// Of the right operand, the left operand and the result.
  private let layouts: [OpaquePointer?]
  private var choice: cuda_product_choice

  /// The plan for a shape on a device, made once.
  ///
  /// - Throws: ``CUDAError/unavailable(_:)`` if cuBLASLt is missing, ``CUDAError/call(_:code:text:)`` if it
  ///   has no algorithm for this shape.
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
    // A failure cannot be reported from here.
    try? handle.library.call("cublasLtMatmulDescDestroy") {
      $0.cublasLtMatmulDescDestroy(product)
    }
    for layout in layouts {
      try? handle.library.call("cublasLtMatrixLayoutDestroy") {
        $0.cublasLtMatrixLayoutDestroy(layout)
      }
    }
  }

  /// Enqueues the product. Operands and workspace must stay allocated until this returns.
  ///
  /// - Parameters:
  ///   - left: device addresses, aligned as ``ProductShape`` says.
  ///   - workspace: at least ``workspaceBytes`` of memory; nil if that is 0.
  public func launch(
    left: UInt64, right: UInt64, result: UInt64, workspace: DeviceMemory?, in stream: Stream
  ) throws {
    try handle.device.makeCurrent()
    func run(_ one: UnsafeRawPointer, _ zero: UnsafeRawPointer) throws {
      try withUnsafePointer(to: choice) { choice in
        try handle.library.call("cublasLtMatmul") {
          // `choice` starts with the algorithm.
          $0.cublasLtMatmul(
            handle.pointer, product, one, right, layouts[0], left, layouts[1], zero, result,
            layouts[2], result, layouts[2], choice, workspace?.address ?? 0, workspaceBytes,
            stream.handle)
        }
      }
    }
    // alpha and beta have the accumulation type.
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

/// cuBLASLt on one device, with its plans.
final class ProductHandle: @unchecked Sendable {
  /// cuBLASLt's status if no algorithm supports a product.
  static let notSupported: Int32 = 15
  /// The number of plans kept; beyond it all are dropped.
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
