/// A matrix product as cuBLASLt is asked for it: everything on which its choice of an algorithm depends.
///
/// All matrices are of rows that lie one behind the other, or, transposed, of columns that do.
public struct ProductShape: Hashable, Sendable {
  /// The elements' type.
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

  /// How the matrices of an operand lie in memory.
  public struct Layout: Hashable, Sendable {
    /// Whether elements of a column are neighbours, and not those of a row.
    public var isTransposed: Bool
    /// Elements from one row to the next, or from one column to the next if transposed.
    public var pitch: Int
    /// Elements from one matrix of the batch to the next; 0 where they share it.
    public var batchStride: Int
    /// The largest power of two that divides the address, as far as it matters.
    public var alignment: Int

    public init(isTransposed: Bool, pitch: Int, batchStride: Int, address: UInt64) {
      self.isTransposed = isTransposed
      self.pitch = pitch
      self.batchStride = batchStride
      let most = 8
      alignment = 1 << min(most, address.trailingZeroBitCount)
    }

    /// The layout of a matrix in memory; nil if neither its rows nor its columns lie dense.
    ///
    /// - Parameters:
    ///   - rows: its extents.
    ///   - strides: elements from one row to the next, and from one column to the next.
    public static func of(
      rows: Int, columns: Int, strides: (row: Int, column: Int)
    ) -> (isTransposed: Bool, pitch: Int)? {
      // Along an axis of one element there is no neighbour, and any stride is as good.
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

  /// The left operand is rows × depth, the right one depth × columns.
  public var rows: Int
  public var columns: Int
  public var depth: Int
  public var batch: Int
  public var left: Layout
  public var right: Layout
  /// Not transposed.
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
