/// An index in a tensor's subscript: an integer, a range, `.all`, `.newAxis` or `.ellipsis`.
public protocol TensorIndex {
  /// What this index selects.
  var axisSelection: AxisSelection { get }
}

/// The part of an axis that an index selects. Negative numbers count from the end.
public enum AxisSelection: Hashable, Sendable {
  /// One element of an axis; the axis is removed.
  case place(Int)
  /// A half-open range of an axis; nil stands for its first or last bound.
  case places(from: Int?, to: Int?)
  /// A closed range of an axis; nil stands for its first index.
  case placesThrough(from: Int?, last: Int)
  /// A new axis of extent one.
  case insertedAxis
  /// All axes that the other indices leave, each whole.
  case remainingAxes
}

extension AxisSelection: TensorIndex {
  public var axisSelection: AxisSelection { self }
}

extension TensorIndex where Self == AxisSelection {
  /// A whole axis.
  public static var all: AxisSelection { .places(from: nil, to: nil) }
  /// A new axis of extent one.
  public static var newAxis: AxisSelection { .insertedAxis }
  /// All axes that the other indices leave, each whole; as the first index it may be written `...`.
  public static var ellipsis: AxisSelection { .remainingAxes }
}

extension Int: TensorIndex {
  public var axisSelection: AxisSelection { .place(self) }
}
extension Range: TensorIndex where Bound == Int {
  public var axisSelection: AxisSelection { .places(from: lowerBound, to: upperBound) }
}
extension ClosedRange: TensorIndex where Bound == Int {
  public var axisSelection: AxisSelection { .placesThrough(from: lowerBound, last: upperBound) }
}
extension PartialRangeFrom: TensorIndex where Bound == Int {
  public var axisSelection: AxisSelection { .places(from: lowerBound, to: nil) }
}
extension PartialRangeUpTo: TensorIndex where Bound == Int {
  public var axisSelection: AxisSelection { .places(from: nil, to: upperBound) }
}
extension PartialRangeThrough: TensorIndex where Bound == Int {
  public var axisSelection: AxisSelection { .placesThrough(from: nil, last: upperBound) }
}
