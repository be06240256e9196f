/// The extents of a tensor, outermost first. A scalar has none.
public struct Shape: Hashable, Sendable, RandomAccessCollection, ExpressibleByArrayLiteral,
  CustomStringConvertible
{
  public let dimensions: [Int]

  public init(_ dimensions: [Int]) { self.dimensions = dimensions }
  public init(arrayLiteral dimensions: Int...) { self.dimensions = dimensions }

  public var rank: Int { dimensions.count }
  public var startIndex: Int { 0 }
  public var endIndex: Int { dimensions.count }
  /// The extent of `axis`. Traps unless it is in 0..<``rank``, as collections do; ``extent(_:)`` throws
  /// instead.
  public subscript(axis: Int) -> Int {
    guard dimensions.indices.contains(axis) else {
      fatalError("axis \(axis) of shape \(self) must be in 0..<\(rank); extent(_:) throws instead")
    }
    return dimensions[axis]
  }

  /// The extent of `axis`; negative axes count from the end.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if there is no such axis.
  public func extent(_ axis: Int) throws -> Int { dimensions[try resolve(axis: axis)] }

  /// The number of elements, which overflows for no tensor.
  public var elementCount: Int { dimensions.reduce(1, *) }

  /// Such as `[2, 1024, 8, 64]`.
  public var description: String {
    "[" + dimensions.map(String.init).joined(separator: ", ") + "]"
  }

  /// Strides, in elements, of a contiguous tensor of this shape in row-major order.
  public var contiguousStrides: [Int] {
    var strides = [Int](repeating: 1, count: rank)
    for axis in stride(from: rank - 2, through: 0, by: -1) {
      strides[axis] = strides[axis + 1] * Swift.max(1, dimensions[axis + 1])
    }
    return strides
  }

  /// The element count.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` naming `argument` if an extent is negative or
  ///   the size in bytes overflows.
  func validated(elementSize: Int, argument: String = "shape") throws -> Int {
    // Extents of zero count as one, so that strides do not overflow either.
    var size = elementSize
    for extent in dimensions {
      let (product, overflow) = size.multipliedReportingOverflow(by: Swift.max(1, extent))
      guard extent >= 0, !overflow else {
        throw TensorError.invalidArgument(
          argument, was: description, mustBe: "extents of at least 0 whose bytes fit in 63 bits")
      }
      size = product
    }
    return dimensions.contains(0) ? 0 : size / elementSize
  }

  /// The shape that both operands broadcast to: aligned at the last axis, extents equal or one.
  public static func broadcasting(_ first: Shape, _ second: Shape) throws -> Shape {
    let rank = Swift.max(first.rank, second.rank)
    var result = [Int](repeating: 1, count: rank)
    for axis in 0..<rank {
      let a = axis - (rank - first.rank)
      let b = axis - (rank - second.rank)
      let extentA = a >= 0 ? first[a] : 1
      let extentB = b >= 0 ? second[b] : 1
      guard extentA == extentB || extentA == 1 || extentB == 1 else {
        throw TensorError.invalidArgument(
          "shapes", was: "\(first) and \(second)",
          mustBe: "equal or one on every axis from the last"
        )
      }
      result[axis] = extentA == 1 ? extentB : extentA
    }
    return Shape(result)
  }

  /// `axis` counted from the front; negative axes count from the end.
  public func resolve(axis: Int, argument: String = "axis") throws -> Int {
    let resolved = axis < 0 ? axis + rank : axis
    guard resolved >= 0, resolved < rank else {
      throw TensorError.invalidArgument(
        argument, was: "\(axis)", mustBe: "in \(-rank)..<\(rank) for shape \(self)")
    }
    return resolved
  }
}
