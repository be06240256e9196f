import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionTensors

/// log(γ + (1 − γ) σ(x)) and its gradients, with saturated sigmoids and others.
@Suite struct BoundedLogSigmoidTests {
  static let bounds = [0, 1e-30, 1e-6, 0.3, 0.5, 0.999, 1 - 1e-6, 1]
  static let numbers: [Double] = [
    -.infinity, -1e30, -1e6, -200, -90, -20, -2, -0.1, 0, 0.1, 2, 20, 60, 200, 1e6, 1e30, .infinity,
  ]

  /// The gate's logarithm and its derivatives with respect to x and the bound, in float64.
  private static func definition(_ x: Double, _ bound: Double, _ dtype: DType) -> [Double] {
    let (open, closed) = (1 / (1 + exp(-x)), 1 / (1 + exp(x)))
    let (gate, missing) = (bound + (1 - bound) * open, (1 - bound) * closed)
    let logarithm =
      bound == 0 ? min(x, 0) - log1p(exp(-abs(x))) : missing < 0.5 ? log1p(-missing) : log(gate)
    // The sigmoid itself, if there is no bound.
    let share = bound == 0 ? 1 : (1 - bound) * open / gate
    let least = dtype == .float32 ? Double(Float.leastNormalMagnitude) : .leastNormalMagnitude
    let isNumber = gate > least
    return [logarithm, closed * share, isNumber ? closed / gate : 0]
  }

  @Test(arguments: [DType.float32, .float64]) func isExact(_ dtype: DType) throws {
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) { try expectExact(dtype, on: .cpu, "\(set)") }
    }
  }

  @Test(.onGPU, arguments: [DType.float32, .float64]) func isExactOnAGPU(_ dtype: DType) throws {
    try expectExact(dtype, on: GPU.device, "GPU")
  }

  private func expectExact(_ dtype: DType, on device: Device, _ label: String) throws {
    let (x, bounds) = (
      try Tensor(Self.numbers, [1, Self.numbers.count]).cast(to: dtype).moved(to: device).tracked(),
      try Tensor(Self.bounds, [Self.bounds.count, 1]).cast(to: dtype)
    )
    // One bound per number, so that its gradient is not a sum.
    let own = try bounds.expanded(to: [Self.bounds.count, Self.numbers.count]).contiguous()
      .moved(to: device).tracked()
    let rows = try x.expanded(to: own.shape).contiguous().detached().tracked()
    let result = try rows.logSigmoid(boundedBy: own)
    let gradients = try result.sum().gradients(of: [rows, own])
    let actual = try ([result] + gradients).map { try $0.moved(to: .cpu).elements(as: Double.self) }
    let exact = try bounds.elements(as: Double.self)
    for (row, bound) in exact.enumerated() {
      for (column, number) in Self.numbers.enumerated() {
        let expected = Self.definition(number, bound, dtype)
        for (index, name) in ["logarithm", "by the number", "by the bound"].enumerated() {
          let value = actual[index][row * Self.numbers.count + column]
          let right = expected[index]
          let words = "\(name) of \(number), \(bound), \(dtype) \(label): \(value), not \(right)"
          if right == -.infinity {
            // Equivalent to −∞ when added or exponentiated.
            #expect(value <= -3e38, "\(words)")
            continue
          }
          // Subnormal numbers lose digits in float32; so does the sigmoid's share of a small bound.
          let least = dtype == .float64 ? 1e-300 : index == 1 ? 1e-8 : 2e-38
          #expect(abs(value - right) <= max(4e-6 * abs(right), least), "\(words)")
        }
      }
    }
  }

  @Test func operandsHaveOneDType() throws {
    #expect(
      throws: TensorError.invalidArgument(
        "operands of logSigmoid", was: "float32 and float64",
        mustBe: "both float32 or both float64")
    ) {
      try Tensor.zeros([2]).logSigmoid(boundedBy: .zeros([2], dtype: .float64))
    }
  }
}
