import CPUKernels
import Tensors

/// The rows of a [b, t, heads, width] tensor in float32, whatever its dtype and strides are.
///
/// The rows themselves lie dense in memory.
struct TokenRows: Sendable {
  private let tensor: Tensor
  private let elements: HostElements
  private let type: cpu_float_type
  private let kernels: cpu_kernels

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` for dtypes that the C loops do not
  ///   read.
  init(_ tensor: Tensor, _ kernels: cpu_kernels) throws {
    self.tensor = tensor
    elements = try tensor.hostElements()
    self.type = try tensor.dtype.loopType
    self.kernels = kernels
  }

  var width: Int { tensor.shape[3] }

  /// Copies the rows of `tokens` to `target`, [tokens, width].
  func load(row: Int, tokens: Range<Int>, head: Int, to target: UnsafeMutablePointer<Float>) {
    let (size, strides) = (tensor.dtype.size, tensor.strides)
    let first = elements.base + (row * strides[0] + head * strides[2]) * size
    if strides[1] == width {
      kernels.widen(type, tokens.count * width, first + tokens.lowerBound * width * size, target)
    } else {
      for (index, token) in tokens.enumerated() {
        kernels.widen(type, width, first + token * strides[1] * size, target + index * width)
      }
    }
  }

  /// ``load(row:tokens:head:to:)`` for `count` rows, zero where `tokens` has fewer.
  func load(
    row: Int, tokens: Range<Int>, head: Int, count: Int, to target: UnsafeMutablePointer<Float>
  ) {
    load(row: row, tokens: tokens, head: head, to: target)
    (target + tokens.count * width).update(repeating: 0, count: (count - tokens.count) * width)
  }

  /// Starts to bring the rows of `tokens` near, for a later ``load(row:tokens:head:to:)``.
  func prefetch(row: Int, tokens: Range<Int>, head: Int) {
    let (size, strides) = (tensor.dtype.size, tensor.strides)
    let first = row * strides[0] + tokens.lowerBound * strides[1] + head * strides[2]
    kernels.prefetch(
      tokens.count, width * size, elements.base + first * size, strides[1] * size, 0)
  }
}

/// The rows of a dense [b, t, heads, width] tensor that is being written.
struct TokenRowsOutput: @unchecked Sendable {
  private let base: UnsafeMutableRawPointer
  private let dtype: DType
  private let type: cpu_float_type
  private let length: Int
  private let heads: Int
  private let width: Int
  private let kernels: cpu_kernels

  init(
    _ base: UnsafeMutableRawPointer, _ shape: Shape, _ dtype: DType, _ kernels: cpu_kernels
  ) throws {
    self.base = base
    self.dtype = dtype
    self.type = try dtype.loopType
    (length, heads, width) = (shape[1], shape[2], shape[3])
    self.kernels = kernels
  }

  /// Starts to bring the places of the rows of `tokens` near, for a later
  /// ``store(row:tokens:head:from:)``.
  func prefetch(row: Int, tokens: Range<Int>, head: Int) {
    let place = ((row * length + tokens.lowerBound) * heads + head) * width
    kernels.prefetch(
      tokens.count, width * dtype.size, base + place * dtype.size, heads * width * dtype.size, 1)
  }

  /// Writes the rows of `tokens` from `source`, [tokens, width].
  func store(row: Int, tokens: Range<Int>, head: Int, from source: UnsafePointer<Float>) {
    for (index, token) in tokens.enumerated() {
      let place = ((row * length + token) * heads + head) * width
      kernels.narrow(type, width, source + index * width, base + place * dtype.size)
    }
  }
}

extension DType {
  /// The C loops' name of this type.
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
