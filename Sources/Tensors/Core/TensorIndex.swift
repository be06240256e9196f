/// What a subscript of a tensor takes of one axis: an integer, a range, `.all`, `.newAxis` or `.ellipsis`.
public protocol TensorIndex {
  /// What this index selects.
  var axisSelection: AxisSelection { get }
}

/// The part of a tensor that an index stands for. Negative numbers count from the end.
public enum AxisSelection: Hashable, Sendable {
  /// One place of an axis, which the result does not have.
  case place(Int)
  /// Places of an axis from `first`, or the first there is, to before `end`, or the last there is.
  case places(from: Int?, to: Int?)
  /// Places of an axis from `first`, or the first there is, to `last` and with it.
  case placesThrough(from: Int?, last: Int)
  /// An axis of extent one that this tensor does not have.
  case insertedAxis
  /// All of as many axes as the other indices leave over.
  case remainingAxes
}

extension AxisSelection: TensorIndex {
  public var axisSelection: AxisSelection { self }
}

extension TensorIndex where Self == AxisSelection {
  /// A whole axis.
  public static var all: AxisSelection { .places(from: nil, to: nil) }
  /// An axis of extent one that this tensor does not have.
  public static var newAxis: AxisSelection { .insertedAxis }
  /// All of as many axes as the other indices leave over; the first index may be written `...` for it.
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
