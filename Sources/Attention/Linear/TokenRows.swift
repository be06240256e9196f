import AttentionCPUKernels
import AttentionTensors

/// Reads rows of a [b, t, heads, width] tensor of any dtype as float32.
///
/// Rows are contiguous; other axes have any strides.
final class TokenRows: Sendable {
  let width: Int
  private let elements: HostElements
  private let elementSize: Int
  private let batchStride, tokenStride, headStride: Int
  private let type: cpu_float_type
  private let kernels: cpu_kernels

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` for dtypes that the C loops do not
  ///   read.
  init(_ tensor: Tensor, _ kernels: cpu_kernels) throws {
    width = tensor.shape[3]
    elements = try tensor.hostElements()
    elementSize = tensor.dtype.size
    (batchStride, tokenStride, headStride) = (
      tensor.strides[0], tensor.strides[1], tensor.strides[2]
    )
    type = try tensor.dtype.loopType
    self.kernels = kernels
  }

  /// Copies the rows of `tokens`, times `factor`, to `target`, [tokens, width].
  func load(
    row: Int, tokens: Range<Int>, head: Int, factor: Float = 1,
    to target: UnsafeMutablePointer<Float>
  ) {
    guard !tokens.isEmpty else { return }
    kernels.load_rows(
      type, tokens.count, width, place(row, tokens, head), tokenStride, factor, target)
  }

  /// ``load(row:tokens:head:factor:to:)``, padded with zeros to `count` rows.
  func load(
    row: Int, tokens: Range<Int>, head: Int, count: Int, factor: Float = 1,
    to target: UnsafeMutablePointer<Float>
  ) {
    load(row: row, tokens: tokens, head: head, factor: factor, to: target)
    (target + tokens.count * width).update(repeating: 0, count: (count - tokens.count) * width)
  }

  /// Asks for the rows of `tokens` to be near for a later load, and returns their lines.
  @discardableResult
  func ask(row: Int, tokens: Range<Int>, head: Int) -> Int {
    guard !tokens.isEmpty else { return 0 }
    kernels.queue_prefetch(
      tokens.count, width * elementSize, place(row, tokens, head), tokenStride * elementSize, 0)
    return CacheLines.count(rows: tokens.count, bytes: width * elementSize)
  }

  private func place(_ row: Int, _ tokens: Range<Int>, _ head: Int) -> UnsafeRawPointer {
    elements.base
      + (row * batchStride + tokens.lowerBound * tokenStride + head * headStride) * elementSize
  }
}

/// Writes rows of a contiguous [b, t, heads, width] tensor.
final class TokenRowsOutput: @unchecked Sendable {
  private let base: UnsafeMutableRawPointer
  private let dtype: DType
  private let type: cpu_float_type
  private let length: Int
  private let heads: Int
  private let width: Int
  private let pastCaches: Int32
  private let kernels: cpu_kernels

  init(
    _ base: UnsafeMutableRawPointer, _ shape: Shape, _ dtype: DType, _ kernels: cpu_kernels
  ) throws {
    self.base = base
    self.dtype = dtype
    self.type = try dtype.loopType
    (length, heads, width) = (shape[1], shape[2], shape[3])
    pastCaches = PastCaches.flag(bytes: shape.elementCount * dtype.size)
    self.kernels = kernels
  }

  /// Asks for the places of the rows of `tokens` to be near for a later
  /// ``store(row:tokens:head:from:)``, which may not need them, and returns their lines.
  @discardableResult
  func ask(row: Int, tokens: Range<Int>, head: Int) -> Int {
    guard pastCaches == 0, !tokens.isEmpty else { return 0 }
    kernels.queue_prefetch(
      tokens.count, width * dtype.size, place(row, tokens, head), heads * width * dtype.size, 1)
    return CacheLines.count(rows: tokens.count, bytes: width * dtype.size)
  }

  /// Writes the rows of `tokens` from `source`, [tokens, width].
  func store(row: Int, tokens: Range<Int>, head: Int, from source: UnsafePointer<Float>) {
    kernels.store_rows(
      type, pastCaches, tokens.count, width, source, place(row, tokens, head), heads * width)
  }

  private func place(_ row: Int, _ tokens: Range<Int>, _ head: Int) -> UnsafeMutableRawPointer {
    base + ((row * length + tokens.lowerBound) * heads + head) * width * dtype.size
  }
}

private enum CacheLines {
  private static let bytes = 64

  /// Lines of rows that begin anywhere.
  static func count(rows: Int, bytes: Int) -> Int { rows * (bytes / Self.bytes + 1) }
}

extension DType {
  /// This dtype in C.
  var loopType: cpu_float_type {
    get throws {
      guard let type = floatType else {
        throw AttentionError.invalidArgument(
          "dtype", was: rawValue, mustBe: "float32, bfloat16 or float16")
      }
      return type
    }
  }
}
