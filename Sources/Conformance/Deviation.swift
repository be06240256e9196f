import AttentionTensors

/// The deviation of a tensor from its reference.
public struct Deviation: Sendable {
  /// RMS(x − ref); infinite if finite and non-finite numbers are exchanged.
  public let difference: Double
  /// RMS(ref)
  public let size: Double
  /// The index of the worst element, and its two values.
  public let worst: Element?
  /// |x − ref| of the worst element.
  public let worstDifference: Double

  public struct Element: Sendable, CustomStringConvertible {
    public let index: [Int]
    public let value: Double
    public let expected: Double

    public var description: String { "\(index) is \(value), not \(expected)" }
  }

  /// - Parameters:
  ///   - tensor: the computed tensor.
  ///   - reference: the correct tensor, of the same shape.
  ///
  /// Infinity and NaN of the reference must match exactly and are left out of the means. The worst element has
  /// the largest |x − ref| / (RMS(ref) + |ref|).
  public init(of tensor: Tensor, from reference: Tensor) throws {
    guard tensor.shape == reference.shape else {
      throw TensorError.invalidArgument(
        "shape", was: "\(tensor.shape)", mustBe: "\(reference.shape), as the reference's")
    }
    let values = try tensor.elements(as: Double.self)
    let expected = try reference.elements(as: Double.self)
    var squares = 0.0
    var count = 0
    for number in expected where number.isFinite {
      squares += number * number
      count += 1
    }
    size = (squares / Double(max(1, count))).squareRoot()
    var differences = 0.0
    var worstShare = 0.0
    var worst: Int?
    for index in expected.indices
    where values[index] != expected[index] && !(values[index].isNaN && expected[index].isNaN) {
      let (x, r) = (values[index], expected[index])
      let isFinite = x.isFinite && r.isFinite
      let difference = isFinite ? abs(x - r) : .infinity
      differences += difference * difference
      let share = isFinite ? difference / (size + abs(r)) : .infinity
      if share > worstShare {
        worstShare = share
        worst = index
      }
    }
    difference = (differences / Double(max(1, count))).squareRoot()
    worstDifference = worst.map { abs(values[$0] - expected[$0]) } ?? 0
    self.worst = worst.map {
      Element(
        index: Self.place($0, in: reference.shape), value: values[$0], expected: expected[$0])
    }
  }

  /// The indices of element number `index` in row-major order.
  static func place(_ index: Int, in shape: Shape) -> [Int] {
    var rest = index
    return shape.reversed().map { extent in
      defer { rest /= extent }
      return rest % extent
    }.reversed()
  }

  /// Whether the error is within `bound`, and no element is off by more than
  /// ``Tolerance/elementFactor`` times that.
  public func isWithin(_ bound: Bound) -> Bool {
    guard let worst else { return true }
    return difference <= bound.limit(size)
      && worstDifference <= Tolerance.elementFactor * bound.limit(size + abs(worst.expected))
  }
}

/// The allowed deviation from the reference: a fraction of its size, plus what rounding leaves of terms that
/// cancel.
public struct Bound: Sendable {
  public var share: Double
  public var remainder: Double

  public init(share: Double, remainder: Double) {
    self.share = share
    self.remainder = remainder
  }

  func limit(_ size: Double) -> Double { share * size + remainder }
}
