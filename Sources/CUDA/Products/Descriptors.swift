import AttentionCUDAInterface

/// The descriptors of a cuBLASLt product, destroyed together unless all of them could be made.
struct Descriptors {
  private let library: ProductLibrary
  private var product: OpaquePointer?
  private var layouts: [OpaquePointer?] = []
  private var preference: OpaquePointer?
  private var isKept = false

  init(_ library: ProductLibrary) { self.library = library }

  /// The largest workspace that an algorithm may use, in bytes; newer devices benefit from more.
  private static func workspaceLimit(_ limits: DeviceLimits) -> UInt64 {
    let hopper = 90
    return limits.capability >= hopper ? 32 << 20 : 8 << 20
  }

  mutating func product(_ element: ProductShape.Element) throws -> OpaquePointer? {
    let (compute, scale) =
      switch element {
      case .float32, .float16, .bfloat16: (CUDA_COMPUTE_32, CUDA_REAL_32)
      case .tf32: (CUDA_COMPUTE_TF32, CUDA_REAL_32)
      case .float64: (CUDA_COMPUTE_64, CUDA_REAL_64)
      }
    var product: OpaquePointer?
    try library.call("cublasLtMatmulDescCreate") {
      $0.cublasLtMatmulDescCreate(&product, Int32(compute), Int32(scale))
    }
    self.product = product
    return product
  }

  func transpose(_ attribute: Int, _ isTransposed: Bool) throws {
    var operation = Int32(isTransposed ? CUDA_TRANSPOSE : CUDA_TRANSPOSE_NOT)
    try library.call("cublasLtMatmulDescSetAttribute") {
      $0.cublasLtMatmulDescSetAttribute(
        product, Int32(attribute), &operation, MemoryLayout<Int32>.size)
    }
  }

  /// The layout of the transpose: a row-major matrix is its transpose in column-major order.
  mutating func layout(
    _ operand: ProductShape.Layout, _ rows: Int, _ columns: Int, _ shape: ProductShape
  ) throws -> OpaquePointer? {
    let type =
      switch shape.element {
      case .float32, .tf32: CUDA_REAL_32
      case .float64: CUDA_REAL_64
      case .float16: CUDA_REAL_16
      case .bfloat16: CUDA_REAL_BFLOAT16
      }
    let (down, along) = operand.isTransposed ? (rows, columns) : (columns, rows)
    var layout: OpaquePointer?
    try library.call("cublasLtMatrixLayoutCreate") {
      $0.cublasLtMatrixLayoutCreate(
        &layout, Int32(type), UInt64(down), UInt64(along), Int64(operand.pitch))
    }
    layouts.append(layout)
    var (count, stride) = (Int32(shape.batch), Int64(operand.batchStride))
    try library.call("cublasLtMatrixLayoutSetAttribute") {
      $0.cublasLtMatrixLayoutSetAttribute(
        layout, Int32(CUDA_LAYOUT_BATCH_COUNT), &count, MemoryLayout<Int32>.size)
    }
    try library.call("cublasLtMatrixLayoutSetAttribute") {
      $0.cublasLtMatrixLayoutSetAttribute(
        layout, Int32(CUDA_LAYOUT_BATCH_STRIDE), &stride, MemoryLayout<Int64>.size)
    }
    return layout
  }

  /// Constraints on the algorithm. Partial sums of a split reduction are added in the accumulation type and
  /// in a fixed order.
  mutating func preference(_ shape: ProductShape, _ limits: DeviceLimits) throws -> OpaquePointer? {
    var preference: OpaquePointer?
    try library.call("cublasLtMatmulPreferenceCreate") {
      $0.cublasLtMatmulPreferenceCreate(&preference)
    }
    self.preference = preference
    func set<T: BitwiseCopyable>(_ name: Int, _ value: T) throws {
      var value = value
      try library.call("cublasLtMatmulPreferenceSetAttribute") {
        $0.cublasLtMatmulPreferenceSetAttribute(
          preference, Int32(name), &value, MemoryLayout<T>.size)
      }
    }
    try set(CUDA_PREFERENCE_WORKSPACE_BYTES, Self.workspaceLimit(limits))
    try set(CUDA_PREFERENCE_REDUCTION_SCHEMES, UInt32(CUDA_REDUCTION_IN_COMPUTE_TYPE))
    try set(CUDA_PREFERENCE_ALIGNMENT_A, UInt32(shape.right.alignment))
    try set(CUDA_PREFERENCE_ALIGNMENT_B, UInt32(shape.left.alignment))
    try set(CUDA_PREFERENCE_ALIGNMENT_C, UInt32(shape.result.alignment))
    try set(CUDA_PREFERENCE_ALIGNMENT_D, UInt32(shape.result.alignment))
    return preference
  }

  /// Leaves the product's and the layouts' descriptors to the caller.
  mutating func keep() { isKept = true }

  /// A failure here only leaks memory.
  func destroyUnlessKept() {
    if preference != nil {
      try? library.call("cublasLtMatmulPreferenceDestroy") {
        $0.cublasLtMatmulPreferenceDestroy(preference)
      }
    }
    guard !isKept else { return }
    if product != nil {
      try? library.call("cublasLtMatmulDescDestroy") { $0.cublasLtMatmulDescDestroy(product) }
    }
    for layout in layouts {
      try? library.call("cublasLtMatrixLayoutDestroy") { $0.cublasLtMatrixLayoutDestroy(layout) }
    }
  }
}
