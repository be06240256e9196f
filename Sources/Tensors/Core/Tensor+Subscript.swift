extension Tensor {
  /// A view of the elements that the indices select, one index per axis from the first; axes without an
  /// index are whole. Gradients flow back to the selected elements.
  ///
  ///     try x[0]                  // the first element of the first axis, without that axis
  ///     try x[-1, 2...]           // the last of the first axis, the second axis from index 2
  ///     try x[1..<3, .newAxis]    // two rows, then an axis of extent one
  ///     try x[.all, 0]            // the first column, the same as selected(1, 0)
  ///     try x[..., 0]             // the first of the last axis, the same as x[.ellipsis, 0]
  ///
  /// Negative numbers count from the end. Swift requires the bounds of a range to be in order, so the last
  /// two are `x[(-2)...]`.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` naming an index that is out of range, or if
  ///   there are more indices than axes or more than one ellipsis.
  public subscript(indices: any TensorIndex...) -> Tensor {
    get throws { try selecting(indices.map(\.axisSelection)) }
  }

  /// The same with an ellipsis as the first index.
  public subscript(
    ellipsis: (UnboundedRange_) -> Void, indices: any TensorIndex...
  ) -> Tensor {
    get throws { try selecting([.remainingAxes] + indices.map(\.axisSelection)) }
  }

  private func selecting(_ selections: [AxisSelection]) throws -> Tensor {
    let named = selections.count { $0 != .insertedAxis && $0 != .remainingAxes }
    guard named <= rank else {
      throw TensorError.invalidArgument(
        "indices", was: "\(named) of axes", mustBe: "at most \(rank) for shape \(shape)")
    }
    var result = self
    var axis = 0
    var hasEllipsis = false
    for (number, selection) in selections.enumerated() {
      let name = "indices[\(number)]"
      switch selection {
      case .place(let place):
        result = try result.selected(
          axis, Tensor.place(place, of: result.shape[axis], name))
      case .places(let first, let end):
        result = try result.sliced(axis, first ?? 0, end, isClosed: false, name)
        axis += 1
      case .placesThrough(let first, let last):
        result = try result.sliced(axis, first ?? 0, last, isClosed: true, name)
        axis += 1
      case .insertedAxis:
        result = try result.unsqueezed(axis)
        axis += 1
      case .remainingAxes:
        guard !hasEllipsis else {
          throw TensorError.invalidArgument(name, was: "a second ellipsis", mustBe: "the only one")
        }
        hasEllipsis = true
        axis += rank - named
      }
    }
    return result
  }

  /// The index `place` counted from the front.
  private static func place(_ place: Int, of extent: Int, _ name: String) throws -> Int {
    let resolved = place < 0 ? place + extent : place
    guard resolved >= 0, resolved < extent else {
      throw TensorError.invalidArgument(
        name, was: "\(place)",
        mustBe: extent == 0 ? "a range, as the axis is empty" : "in \(-extent)..<\(extent)")
    }
    return resolved
  }

  /// The slice of `axis` from `first` to `end`, inclusive if the range is closed; to the last index if
  /// `end` is nil.
  private func sliced(
    _ axis: Int, _ first: Int, _ end: Int?, isClosed: Bool, _ name: String
  ) throws -> Tensor {
    let extent = shape[axis]
    let low = first < 0 ? first + extent : first
    var high = end.map { $0 < 0 ? $0 + extent : $0 } ?? extent
    if isClosed, high < extent { high += 1 }
    let reachesFurther = isClosed && end.map { $0 >= extent } == true
    guard low >= 0, low <= high, high <= extent, !reachesFurther else {
      throw TensorError.invalidArgument(
        name, was: "\(first)\(isClosed ? "..." : "..<")\(end.map(String.init) ?? "")",
        mustBe: "within 0..<\(extent), negative numbers counted from the end")
    }
    return low == 0 && high == extent ? self : try sliced(axis, low..<high)
  }
}

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
