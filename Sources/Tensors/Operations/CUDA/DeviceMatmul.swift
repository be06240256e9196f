import AttentionCUDA
import Synchronization

/// How matrix products on GPUs are computed.
public enum DeviceProducts {
  private static let allowed = Atomic<Bool>(false)

  /// Whether float32 products on GPUs may round their operands to TF32 (10 bits of fraction), which is
  /// several times as fast. No, unless asked for: float32 is then multiplied as it is.
  public static var allowsTF32: Bool {
    get { allowed.load(ordering: .relaxed) }
    set { allowed.store(newValue, ordering: .relaxed) }
  }
}

extension Tensor {
  /// The matrix products of two tensors of one GPU by cuBLASLt, without a record. Sums are of float32, or
  /// float64 where the operands are.
  static func productOnDevice(_ a: Tensor, _ b: Tensor, leading: Shape) throws -> Tensor {
    let (m, k, n) = (a.shape[a.rank - 2], a.shape[a.rank - 1], b.shape[b.rank - 1])
    let shape = Shape(leading.dimensions + [m, n])
    let device = a.device
    guard k > 0, shape.elementCount > 0 else {
      return try .clearedOnDevice(shape, dtype: a.dtype, device: device)
    }
    let (x, y) = (try a.withDenseMatrices(), try b.withDenseMatrices())
    let left = try x.expanded(to: Shape(leading.dimensions + [m, k]))
    let right = try y.expanded(to: Shape(leading.dimensions + [k, n]))
    let result = try Tensor.onDevice(shape, dtype: a.dtype, device: device)
    let batches = ProductBatches(leading, [left.strides, right.strides, result.strides])
    for offsets in batches.offsets {
      try launchProduct(left, right, result, offsets, batches)
    }
    return result
  }

  /// This tensor, or a copy, with matrices of dense rows or columns.
  private func withDenseMatrices() throws -> Tensor {
    denseMatrices == nil ? try contiguous() : self
  }

  private var denseMatrices: (isTransposed: Bool, pitch: Int)? {
    ProductShape.Layout.of(
      rows: shape[rank - 2], columns: shape[rank - 1],
      strides: (strides[rank - 2], strides[rank - 1]))
  }

  private static func launchProduct(
    _ left: Tensor, _ right: Tensor, _ result: Tensor, _ offsets: [Int], _ batches: ProductBatches
  ) throws {
    let rank = result.rank
    let addresses = try zip([left, right, result], offsets).map {
      try $0.deviceAddress() + UInt64($1 * $0.dtype.size)
    }
    func layout(_ tensor: Tensor, _ operand: Int) -> ProductShape.Layout {
      let (isTransposed, pitch) = tensor.denseMatrices ?? (false, tensor.shape[rank - 1])
      return ProductShape.Layout(
        isTransposed: isTransposed, pitch: pitch, batchStride: batches.strides[operand],
        address: addresses[operand])
    }
    var written = layout(result, 2)
    // A result of one column is dense either way; it is asked for by rows.
    (written.isTransposed, written.pitch) = (false, result.shape[rank - 1])
    let queue = try DeviceQueue.shared(for: result.device)
    let plan = try PlannedProduct.planned(
      ProductShape(
        rows: result.shape[rank - 2], columns: result.shape[rank - 1],
        depth: left.shape[rank - 1], batch: batches.count, left: layout(left, 0),
        right: layout(right, 1), result: written,
        element: left.dtype.productElement(allowsTF32: DeviceProducts.allowsTF32)),
      on: queue.device)
    let workspace =
      plan.workspaceBytes > 0
      ? try DeviceMemory(plan.workspaceBytes, for: "matrix product", in: queue.stream) : nil
    try withExtendedLifetime((left, right, workspace)) {
      try plan.launch(
        left: addresses[0], right: addresses[1], result: addresses[2], workspace: workspace,
        in: queue.stream)
    }
  }
}

/// Leading axes as batches of evenly spaced matrices, one launch each.
struct ProductBatches: Hashable {
  /// Matrices of a batch.
  let count: Int
  /// Elements between neighbouring matrices of a batch, of each operand.
  let strides: [Int]
  /// Where each batch begins, in each operand.
  let offsets: [[Int]]

  /// - Parameter strides: of each operand, beginning with those of the leading axes.
  init(_ leading: Shape, _ strides: [[Int]]) {
    var axes = MergedAxes(shape: leading, strides: strides.map { Array($0.prefix(leading.rank)) })
    // The longest axis makes the fewest launches.
    let longest = axes.extents.indices.max { axes.extents[$0] < axes.extents[$1] }
    if let longest {
      count = axes.extents.remove(at: longest)
      self.strides = axes.strides.indices.map { axes.strides[$0].remove(at: longest) }
    } else {
      count = 1
      self.strides = [Int](repeating: 0, count: strides.count)
    }
    var offsets = [[Int](repeating: 0, count: strides.count)]
    for (axis, extent) in axes.extents.enumerated() {
      offsets = offsets.flatMap { base in
        (0..<extent).map { place in
          base.indices.map { base[$0] + place * axes.strides[$0][axis] }
        }
      }
    }
    self.offsets = offsets
  }
}

extension DType {
  func productElement(allowsTF32: Bool) -> ProductShape.Element {
    switch self {
    case .bfloat16: .bfloat16
    case .float16: .float16
    case .float64: .float64
    case .float32, .int32, .int64, .bool: allowsTF32 ? .tf32 : .float32
    }
  }
}
