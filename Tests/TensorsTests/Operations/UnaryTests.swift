import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct UnaryTests {
  struct Function: Sendable, CustomTestStringConvertible {
    let name: String
    /// The largest error of the float32 function in units in the last place of the exact result.
    let units: Double
    /// Results below this size may lose digits or be 0.
    var smallest = Float.leastNormalMagnitude
    let apply: @Sendable (Tensor) throws -> Tensor
    /// Points at which the function is smooth.
    var domain: [Double] = [-30, -2.5, -1e-3, 1e-4, 0.2, 0.26, 1, 3.7, 20]
    /// The results for -∞, -0, 0 and ∞, in this order.
    let limits: [Double]
    var testDescription: String { name }
  }

  static let functions: [Function] = {
    let (infinity, nan) = (Double.infinity, Double.nan)
    let positive = [0.3, 1, 7.5, 1e4]
    return [
      Function(name: "negate", units: 0, apply: { try -$0 }, limits: [infinity, 0, 0, -infinity]),
      Function(
        name: "absolute", units: 0, apply: { try $0.absolute() },
        limits: [infinity, 0, 0, infinity]
      ),
      Function(
        name: "squared", units: 0.5, apply: { try $0.squared() },
        limits: [infinity, 0, 0, infinity]
      ),
      Function(
        name: "squareRoot", units: 0.5, apply: { try $0.squareRoot() }, domain: positive,
        limits: [nan, 0, 0, infinity]),
      Function(
        name: "reciprocalSquareRoot", units: 1.5, apply: { try $0.reciprocalSquareRoot() },
        domain: positive, limits: [nan, -infinity, infinity, 0]),
      Function(
        name: "reciprocal", units: 0.5, apply: { try $0.reciprocal() }, domain: positive + [-2],
        limits: [0, -infinity, infinity, 0]),
      Function(
        name: "exponential", units: 2, apply: { try $0.exponential() },
        domain: [-30, -1, 0, 0.5, 5],
        limits: [0, 1, 1, infinity]),
      Function(
        name: "logarithm", units: 2, apply: { try $0.logarithm() }, domain: positive,
        limits: [nan, -infinity, -infinity, infinity]),
      Function(
        name: "exponentialMinusOne", units: 4, apply: { try $0.exponentialMinusOne() },
        domain: [-30, -1, -1e-3, 0.2, 0.5, 5], limits: [-1, 0, 0, infinity]),
      Function(
        name: "logarithmOfOnePlus", units: 2, apply: { try $0.logarithmOfOnePlus() },
        domain: [-0.5, -0.1, -1e-3, 0.2, 0.5, 5], limits: [nan, 0, 0, infinity]),
      Function(name: "tanh", units: 3, apply: { try $0.tanh() }, limits: [-1, 0, 0, 1]),
      Function(name: "sigmoid", units: 3, apply: { try $0.sigmoid() }, limits: [0, 0.5, 0.5, 1]),
      Function(
        name: "logSigmoid", units: 3, apply: { try $0.logSigmoid() },
        limits: [-infinity, -0.6931471805599453, -0.6931471805599453, 0]),
      Function(name: "relu", units: 0, apply: { try $0.relu() }, limits: [0, 0, 0, infinity]),
      Function(
        name: "silu", units: 4, smallest: 128 * .leastNormalMagnitude, apply: { try $0.silu() },
        limits: [nan, 0, 0, infinity]),
      Function(
        name: "complementaryErrorFunction", units: 6, smallest: 128 * .leastNormalMagnitude,
        apply: { try $0.complementaryErrorFunction() },
        domain: [-3, -1, -0.26, -0.2, 0.1, 0.7, 2.5], limits: [2, 1, 1, 0]),
    ]
  }()

  @Test(arguments: functions)
  func gradientsAreThoseOfDifferences(_ function: Function) throws {
    try expectGradients(of: [Tensor(function.domain)], function.name) { try function.apply($0[0]) }
  }

  @Test(arguments: functions)
  func limitsAreExact(_ function: Function) throws {
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) {
        for dtype in DType.allCases where dtype.isFloatingPoint {
          let input = try Tensor([-Double.infinity, -0.0, 0, .infinity, .nan]).cast(to: dtype)
          let output = try function.apply(input)
          #expect(output.dtype == dtype)
          let values = try output.elements(as: Double.self)
          let expected = try Tensor(function.limits).cast(to: dtype).elements(as: Double.self)
          for (index, pair) in zip(values, expected).enumerated() {
            let isRight = pair.0 == pair.1 || (pair.0.isNaN && pair.1.isNaN)
            #expect(isRight, "\(function.name) \(set) \(dtype) limit \(index) is \(pair.0)")
          }
          #expect(values[4].isNaN, "\(function.name) \(set) \(dtype) of NaN")
        }
      }
    }
  }

  /// Numbers of every size and sign, about equally many for each exponent.
  static let sample: [Float] = stride(from: 0, through: Int(UInt32.max), by: 40_013)
    .map { Float(bitPattern: UInt32($0)) }.filter(\.isFinite)

  @Test(arguments: functions)
  func everySizeOfNumberIsAccurate(_ function: Function) throws {
    let input = try Tensor(Self.sample)
    let reference = try function.apply(input.cast(to: .float64)).elements(as: Double.self)
    for set in InstructionSet.supported {
      let values = try InstructionSet.withCurrent(set) {
        try function.apply(input).elements(as: Float.self)
      }
      var worst = (units: 0.0, at: Float(0))
      for index in values.indices {
        let (value, right) = (values[index], reference[index])
        if value.isNaN && right.isNaN { continue }
        let rounded = Float(right)
        if value == rounded { continue }
        let unit = Double(max(rounded.ulp, Float.leastNormalMagnitude.ulp))
        if max(rounded.magnitude, value.magnitude) <= function.smallest { continue }
        let units = (Double(value) - right).magnitude / unit
        if !(units <= worst.units) { worst = (units, Self.sample[index]) }
      }
      #expect(
        worst.units <= function.units,
        "\(function.name) with \(set) is off by \(worst.units) units at \(worst.at)")
    }
  }

  @Test func everyLengthIsComputedWhole() throws {
    for count in [0, 1, 3, 15, 16, 17, 31, 33, 16_385] {
      let values = (0..<count).map { Float($0 % 10) }
      for set in InstructionSet.supported {
        let doubled = try InstructionSet.withCurrent(set) {
          try (-Tensor(values)).elements(as: Float.self)
        }
        #expect(doubled == values.map { -$0 }, "\(count) numbers with \(set)")
      }
    }
  }

  @Test func derivativesAtKinksAreZero() throws {
    for dtype in DType.allCases where dtype.isFloatingPoint {
      let zero = try Tensor.zeros([2], dtype: dtype).tracked()
      for output in [try zero.absolute(), try zero.relu()] {
        let gradient = try output.sum().gradients(of: [zero])[0]
        #expect(try gradient.elements(as: Double.self) == [0, 0], "\(dtype)")
      }
    }
  }

  @Test func largeNumbersHaveFiniteGradients() throws {
    let x = try Tensor([-3e38, -1e4, -90, 90, 1e4, 3e38] as [Float]).tracked()
    for function in Self.functions where ["tanh", "sigmoid", "logSigmoid"].contains(function.name) {
      let gradient = try function.apply(x).sum().gradients(of: [x])[0]
      let isBounded = try gradient.elements(as: Float.self).allSatisfy { 0...1 ~= $0 }
      #expect(isBounded, "\(function.name)")
    }
  }

  /// The gradient of half-precision numbers is that of the same float32 numbers, rounded once.
  @Test(arguments: functions, [DType.float16, .bfloat16])
  func halfPrecisionGradientsAreRoundedOnce(_ function: Function, _ dtype: DType) throws {
    let half = try Tensor(function.domain).cast(to: dtype).tracked()
    let wide = try half.detached().cast(to: .float32).tracked()
    let actual = try function.apply(half).sum().gradients(of: [half])[0]
    let expected = try function.apply(wide).sum().gradients(of: [wide])[0].cast(to: dtype)
    #expect(try actual.elements(as: Float.self) == expected.elements(as: Float.self))
  }

  @Test func fusedSiluGradientsAreThoseOfFloat64() throws {
    let x = try normal([1003], 1, deviation: 4)
    let seed = try normal([1003], 2)
    let wide = x.tracked()
    let expected = try wide.silu().gradients(of: [wide], seed: seed)[0]
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) {
        let narrow = try x.cast(to: .float32).tracked()
        let actual = try narrow.silu().gradients(of: [narrow], seed: seed.cast(to: .float32))[0]
        try expectClose(actual, expected, within: 1e-6, "\(set)")
      }
    }
  }

  @Test func integersAreRefused() throws {
    #expect(
      throws: TensorError.invalidArgument(
        "operand of tanh", was: "int32", mustBe: "a floating-point tensor")
    ) { try Tensor.range(3).tanh() }
  }
}
