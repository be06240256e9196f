import CPUKernels
import Tensors

/// Keys and values of all sequences and key/value heads in float32, packed as the right operands of
/// Q Kᵀ and P V.
struct PackedKeys: Sendable {
  /// Key rows that one task reads and packs; a multiple of every tile width.
  private static let taskRows = 256

  let inputs: ExactInputs
  let kernels: cpu_kernels
  private let memory: Scratch
  /// For each segment and key/value head, where its keys begin; the values follow.
  private let offsets: [Int]

  init(_ inputs: ExactInputs, _ type: cpu_float_type, _ kernels: cpu_kernels) throws {
    let problem = inputs.problem
    let tile = kernels.tile_columns
    let valueColumns = (problem.valueDimension + tile - 1) / tile * tile
    var offsets: [Int] = []
    var total = 0
    for segment in inputs.segments {
      let rows = (segment.keyCount + tile - 1) / tile * tile
      for _ in 0..<problem.keyValueHeads {
        offsets.append(total)
        total += rows * (problem.keyDimension + valueColumns)
      }
    }
    self.inputs = inputs
    self.kernels = kernels
    self.offsets = offsets
    memory = try Scratch(floats: total)
    try pack(HeadRows(inputs.keys, type), HeadRows(inputs.values, type))
  }

  /// The panels of the keys from `start` on, a multiple of the tile width.
  func keys(_ segment: Int, _ head: Int, from start: Int) -> UnsafePointer<Float> {
    UnsafePointer(memory.base + offsets[segment * inputs.problem.keyValueHeads + head])
      + start * inputs.problem.keyDimension
  }
  /// The distance between the panels of the keys.
  var keyPanelStride: Int { inputs.problem.keyDimension * kernels.tile_columns }

  /// The panels of the values from key `start` on.
  func values(_ segment: Int, _ head: Int, from start: Int) -> UnsafePointer<Float> {
    keys(segment, head, from: paddedRows(segment)) + start * kernels.tile_columns
  }
  /// The distance between the panels of the values.
  func valuePanelStride(_ segment: Int) -> Int { paddedRows(segment) * kernels.tile_columns }

  private func paddedRows(_ segment: Int) -> Int {
    let tile = kernels.tile_columns
    return (inputs.segments[segment].keyCount + tile - 1) / tile * tile
  }

  private func pack(_ keyRows: HeadRows, _ valueRows: HeadRows) throws {
    let heads = inputs.problem.keyValueHeads
    let d = keyRows.dimension
    let v = valueRows.dimension
    let tasks = inputs.segments.indices.flatMap { segment in
      stride(from: 0, to: inputs.segments[segment].keyCount, by: Self.taskRows).flatMap { start in
        (0..<heads).map { (segment, $0, start) }
      }
    }
    try Threads.tryForEach(tasks.count) { task in
      let (index, head, start) = tasks[task]
      let segment = inputs.segments[index]
      let count = min(Self.taskRows, segment.keyCount - start)
      let scratch = try Scratch(floats: Self.taskRows * (max(d, v) + d))
      let rows = scratch.base
      keyRows.read(
        batch: segment.batch, head: head, start: segment.keyStart + start, count: count,
        into: rows, kernels)
      if let groups = inputs.normalizedGroups {
        // At most d reciprocal lengths a row.
        kernels.unit_slices(
          count, d, groups, Similarity.shortestSlice, rows, rows,
          rows + Self.taskRows * max(d, v))
      }
      kernels.pack(
        d, count, rows, 1, d, UnsafeMutablePointer(mutating: keys(index, head, from: start)),
        keyPanelStride)
      valueRows.read(
        batch: segment.batch, head: head, start: segment.keyStart + start, count: count,
        into: rows, kernels)
      kernels.pack(
        count, v, rows, v, 1, UnsafeMutablePointer(mutating: values(index, head, from: start)),
        valuePanelStride(index))
    }
  }
}
