import AttentionTensors

/// Working memory that a layout takes part by part. The layout runs twice, once to count and once
/// on memory of that size, so that no separate formula of its size is needed. It must not access
/// the memory that it takes.
struct Arena {
  typealias Rows = UnsafeMutablePointer<Float>

  /// The memory, which its users must keep alive; nil while a layout is counted.
  let memory: Scratch?
  private let base: Rows
  private var taken = 0

  /// Floats of a cache line. Every part begins at a line, and parts whose size is a power of two
  /// begin at different sets of the first-level cache.
  private static let line = 16

  private init(_ memory: Scratch?) {
    self.memory = memory
    base = memory?.base ?? Rows(bitPattern: Self.line * MemoryLayout<Float>.size).unsafelyUnwrapped
  }

  /// Takes `count` floats.
  mutating func take(_ count: Int) -> Rows {
    defer { taken += count == 0 ? 0 : (count / Self.line + 2) * Self.line }
    return base + taken
  }

  /// Takes memory for a packed float32 matrix.
  mutating func sums(_ rows: Int, _ columns: Int, _ shape: ChunkShape) -> Panels {
    let panels = Panels(rows: rows, columns: columns, tile: shape.tile, base: base + taken)
    _ = take(panels.size)
    return panels
  }

  /// Takes memory for the right operand of a product.
  mutating func operand(_ rows: Int, _ columns: Int, _ shape: ChunkShape) -> Panels {
    let panels = Panels(rows: rows, columns: columns, tile: shape.tile, base: base + taken)
    _ = take(shape.roundsOperands ? panels.pairSize : panels.size)
    return panels
  }

  /// Takes memory for sums as a right operand; none if the sums are operands themselves.
  mutating func rounded(_ rows: Int, _ columns: Int, _ shape: ChunkShape) -> Panels {
    operand(shape.roundsOperands ? rows : 0, columns, shape)
  }

  /// Floats that `layout` takes.
  static func size(of layout: (inout Arena) -> some Any) -> Int {
    var arena = Arena(nil)
    _ = layout(&arena)
    return arena.taken
  }

  /// Runs `layout` on memory of its size.
  static func place<Layout>(_ layout: (inout Arena) -> Layout) throws -> Layout {
    let count = size(of: layout)
    var arena = Arena(try Scratch(floats: count))
    let result = layout(&arena)
    precondition(arena.taken == count, "a layout took \(count) floats, then \(arena.taken)")
    return result
  }
}
