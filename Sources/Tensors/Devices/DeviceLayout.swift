/// How a kernel traverses operands of one shape and different strides, `Layout` in `tensors/strided.cuh`:
/// rows, placed by the outer axes, with four elements of a row per thread.
struct DeviceLayout: BitwiseCopyable {
  static let operandLimit = 4
  static let outerLimit = 7
  private static let groupSize = 4
  static let threads = 256

  var rows: Int64
  var length: Int64
  var rowGroups: Int64
  var extents = InlineArray<7, Int64>(repeating: 1)
  var steps = InlineArray<4, Int64>(repeating: 0)
  var strides = InlineArray<4, InlineArray<7, Int64>>(repeating: .init(repeating: 0))
  var rank: Int32
  var isWide: Int32

  /// - Parameters:
  ///   - shape: of all operands.
  ///   - strides: of each operand, in elements; at most four operands.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if more than eight axes are left after
  ///   merging those that are contiguous in all operands.
  init(shape: Shape, strides: [[Int]]) throws {
    var axes = MergedAxes(shape: shape, strides: strides)
    guard axes.extents.count <= Self.outerLimit + 1 else {
      throw TensorError.invalidArgument(
        "shape", was: "\(shape)",
        mustBe: "of at most \(Self.outerLimit + 1) axes on a GPU, those walked evenly counted once")
    }
    length = 1
    if let last = axes.extents.popLast() {
      length = Int64(last)
      for operand in strides.indices { steps[operand] = Int64(axes.strides[operand].removeLast()) }
    }
    rank = Int32(axes.extents.count)
    for (axis, extent) in axes.extents.enumerated() {
      extents[axis] = Int64(extent)
      for operand in strides.indices {
        self.strides[operand][axis] = Int64(axes.strides[operand][axis])
      }
    }
    rows = Int64(axes.extents.reduce(1, *))
    rowGroups = (length + Int64(Self.groupSize) - 1) / Int64(Self.groupSize)
    isWide = rows * rowGroups > Int64(Int32.max) ? 1 : 0
  }

  /// Blocks for one thread per group.
  var blocks: Int { (Int(rows * rowGroups) + Self.threads - 1) / Self.threads }
}
