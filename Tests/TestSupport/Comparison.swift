import Testing

@testable import AttentionTensors

/// RMS(actual − expected) / RMS(expected); infinite if the counts differ, or if a number is not finite and the
/// other one differs.
package func relativeError(_ actual: Tensor, _ expected: Tensor) throws -> Double {
  let (x, y) = (try actual.elements(as: Double.self), try expected.elements(as: Double.self))
  guard x.count == y.count else { return .infinity }
  var (difference, size) = (0.0, 0.0)
  for (a, b) in zip(x, y) where a != b && !(a.isNaN && b.isNaN) {
    guard a.isFinite, b.isFinite else { return .infinity }
    difference += (a - b) * (a - b)
  }
  for b in y where b.isFinite { size += b * b }
  return (difference / max(size, .leastNormalMagnitude)).squareRoot()
}

/// Checks the shape and elements of `actual`.
package func expectClose(
  _ actual: Tensor, _ expected: Tensor, within tolerance: Double, _ label: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  #expect(actual.shape == expected.shape, "\(label)", sourceLocation: sourceLocation)
  guard actual.shape == expected.shape else { return }
  let error = try relativeError(actual, expected)
  #expect(error <= tolerance, "\(label)", sourceLocation: sourceLocation)
}

/// Checks the gradients of Σ seed · `function` at float64 `inputs` against central differences.
///
/// With steps of h = ∛ε·max(1, |x|), truncation and rounding both leave an error of about ε^⅔ ≈ 4·10⁻¹¹ of the
/// values' size; a hundred times that is allowed, relative to the largest gradient.
package func expectGradients(
  of inputs: [Tensor], _ label: String = "", sourceLocation: SourceLocation = #_sourceLocation,
  _ function: ([Tensor]) throws -> Tensor
) throws {
  let tracked = inputs.map { $0.tracked() }
  let output = try function(tracked)
  var generator = Philox(seed: 11)
  let seed = try Tensor.uniform(
    output.shape, from: 0.5, to: 1.5, using: &generator, dtype: .float64)
  let gradients = try output.gradients(of: tracked, seed: seed)
  let weights = try seed.elements(as: Double.self)
  func total(_ inputs: [Tensor]) throws -> Double {
    zip(try function(inputs).elements(as: Double.self), weights).reduce(0) { $0 + $1.0 * $1.1 }
  }
  for (place, input) in inputs.enumerated() {
    #expect(gradients[place].shape == input.shape, "\(label)", sourceLocation: sourceLocation)
    #expect(gradients[place].dtype == input.dtype, "\(label)", sourceLocation: sourceLocation)
    let values = try input.elements(as: Double.self)
    let actual = try gradients[place].elements(as: Double.self)
    let scale = actual.reduce(1) { max($0, abs($1)) }
    for index in values.indices {
      let step = 6e-6 * max(1, abs(values[index]))
      func shifted(_ by: Double) throws -> Double {
        var moved = values
        moved[index] += by
        var all = inputs
        all[place] = try Tensor(moved, input.shape)
        return try total(all)
      }
      let expected = try (shifted(step) - shifted(-step)) / (2 * step)
      #expect(
        abs(actual[index] - expected) <= 4e-9 * scale,
        "\(label) input \(place) element \(index): \(actual[index]) is not \(expected)",
        sourceLocation: sourceLocation)
    }
  }
}

/// Checks the gradients of Σ seed · `function` at float64 `inputs` along random directions of unit length, two for each
/// input: of functions with many inputs, which element by element would take long.
///
/// The third derivative of a norm of a small vector is much larger than its values. So differences of two steps h and 2h
/// are extrapolated, which takes that term out of the error, and rounding leaves at most twice that of
/// ``expectGradients(of:_:sourceLocation:_:)``.
package func expectDirectionalGradients(
  of inputs: [Tensor], _ label: String = "", sourceLocation: SourceLocation = #_sourceLocation,
  _ function: ([Tensor]) throws -> Tensor
) throws {
  let tracked = inputs.map { $0.tracked() }
  let output = try function(tracked)
  var generator = Philox(seed: 12)
  let seed = try Tensor.uniform(
    output.shape, from: 0.5, to: 1.5, using: &generator, dtype: .float64)
  let gradients = try output.gradients(of: tracked, seed: seed)
  for (place, input) in inputs.enumerated() {
    #expect(gradients[place].shape == input.shape, "\(label)", sourceLocation: sourceLocation)
    for direction in 0..<2 {
      let drawn = try Tensor.normal(
        input.shape, standardDeviation: 1, using: &generator, dtype: .float64)
      let unit = try drawn / drawn.squared().sum().squareRoot()
      func total(_ distance: Double) throws -> Double {
        var moved = inputs
        moved[place] = try input + unit * distance
        return try (function(moved) * seed).sum().item()
      }
      func slope(_ step: Double) throws -> Double {
        try (total(step) - total(-step)) / (2 * step)
      }
      let step = 6e-6
      let expected = try (4 * slope(step) - slope(2 * step)) / 3
      let actual = try (gradients[place] * unit).sum().item()
      #expect(
        abs(actual - expected) <= 4e-9 * max(1, abs(actual)),
        "\(label) input \(place) direction \(direction): \(actual) is not \(expected)",
        sourceLocation: sourceLocation)
    }
  }
}

/// Normal random numbers, the same for the same seed.
package func normal(_ shape: Shape, _ seed: UInt64, dtype: DType = .float64, deviation: Double = 1)
  throws
  -> Tensor
{
  var generator = Philox(seed: seed)
  return try .normal(shape, standardDeviation: deviation, using: &generator, dtype: dtype)
}
