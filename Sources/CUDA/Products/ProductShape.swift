/// A matrix product as cuBLASLt sees it: everything that its choice of an algorithm depends on.
///
/// In every matrix either the rows or, if transposed, the columns are contiguous.
public struct ProductShape: Hashable, Sendable {
  /// The type of the elements, and how they are multiplied.
  public enum Element: Hashable, Sendable {
    case float32, float64, float16, bfloat16
    /// float32 operands rounded to 10 bits of fraction before they are multiplied.
    case tf32

    var size: Int {
      switch self {
      case .float16, .bfloat16: 2
      case .float32, .tf32: 4
      case .float64: 8
      }
    }
  }

  /// How an operand's matrices lie in memory.
  public struct Layout: Hashable, Sendable {
    /// Whether columns are contiguous instead of rows.
    public var isTransposed: Bool
    /// Elements from one row to the next, or from one column to the next if transposed.
    public var pitch: Int
    /// Elements from one matrix of the batch to the next; 0 if all share one.
    public var batchStride: Int
    /// The largest power of two that divides the address, up to the largest that matters.
    public var alignment: Int

    public init(isTransposed: Bool, pitch: Int, batchStride: Int, address: UInt64) {
      self.isTransposed = isTransposed
      self.pitch = pitch
      self.batchStride = batchStride
      let most = 8
      alignment = 1 << min(most, address.trailingZeroBitCount)
    }

    /// The layout of a matrix in memory; nil if neither its rows nor its columns are contiguous.
    ///
    /// - Parameters:
    ///   - rows: its extents.
    ///   - strides: elements from one row to the next, and from one column to the next.
    public static func of(
      rows: Int, columns: Int, strides: (row: Int, column: Int)
    ) -> (isTransposed: Bool, pitch: Int)? {
      // An axis of one element has no step, so its stride does not matter.
      let hasDenseRows = strides.column == 1 || columns == 1
      let hasDenseColumns = strides.row == 1 || rows == 1
      if hasDenseRows, rows == 1 || strides.row >= columns {
        return (false, rows == 1 ? columns : strides.row)
      }
      if hasDenseColumns, columns == 1 || strides.column >= rows {
        return (true, columns == 1 ? rows : strides.column)
      }
      return nil
    }
  }

  /// The left operand is rows × depth, the right one depth × columns, the result rows × columns.
  public var rows: Int
  public var columns: Int
  public var depth: Int
  public var batch: Int
  public var left: Layout
  public var right: Layout
  /// Never transposed.
  public var result: Layout
  public var element: Element

  public init(
    rows: Int, columns: Int, depth: Int, batch: Int, left: Layout, right: Layout, result: Layout,
    element: Element
  ) {
    self.rows = rows
    self.columns = columns
    self.depth = depth
    self.batch = batch
    self.left = left
    self.right = right
    self.result = result
    self.element = element
  }
}
