import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionTensors

/// Softmax and cross-entropy of logits so large that the logarithm of a sum is lost when added to them.
@Suite struct LargeLogitTests {
  /// Rows of equal logits, with equally likely classes, and of one logit above all others.
  private static let sizes: [Float] = [1e6, 1e30, -1e30]
  private static let classes = 37
  private static var rows: Int { sizes.count + 1 }

  private static func logits() throws -> Tensor {
    let numbers = (0..<rows).flatMap { row in
      (0..<classes).map { row < sizes.count ? sizes[row] : $0 == 5 ? 1e30 : -1e30 }
    }
    return try Tensor(numbers, [rows, classes])
  }

  /// The last row's target is its largest logit.
  private static func targets() throws -> Tensor {
    try Tensor((0..<rows).map { Int32($0 == rows - 1 ? 5 : $0 * 11) })
  }

  /// [rows, classes]
  private static func likelihoods() -> [Double] {
    (0..<rows).flatMap { row in
      (0..<classes).map { row < sizes.count ? 1 / Double(classes) : $0 == 5 ? 1 : 0 }
    }
  }

  private func expectRight(_ dtype: DType, on device: Device, _ label: String) throws {
    let likely = try Tensor(Self.likelihoods(), [Self.rows, Self.classes])
    let exact = dtype == .float64 ? 1e-12 : dtype == .float32 ? 1e-6 : 1e-2
    let logits = try Self.logits().cast(to: dtype).moved(to: device).tracked()
    try expectClose(
      logits.softmax().moved(to: .cpu), likely, within: exact, "softmax, \(dtype) \(label)")
    let losses = try logits.crossEntropy(Self.targets())
    let expected = (0..<Self.rows).map { $0 == Self.rows - 1 ? 0 : log(Double(Self.classes)) }
    try expectClose(
      losses.moved(to: .cpu), Tensor(expected), within: exact, "losses, \(dtype) \(label)")
    let hits = try Tensor(
      zip(0..., Self.targets().elements(as: Int32.self)).flatMap { row, target in
        (0..<Self.classes).map { $0 == Int(target) ? 1.0 : 0 }
      }, [Self.rows, Self.classes])
    let gradient = try losses.cast(to: .float32).sum().gradients(of: [logits])[0]
    try expectClose(
      gradient.moved(to: .cpu), likely - hits, within: exact, "gradient, \(dtype) \(label)")
  }

  @Test(arguments: [DType.float32, .float64, .bfloat16]) func areRight(_ dtype: DType) throws {
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) { try expectRight(dtype, on: .cpu, "\(set)") }
    }
  }

  @Test(.onGPU, arguments: [DType.float32, .float64, .bfloat16])
  func areRightOnAGPU(_ dtype: DType) throws {
    try expectRight(dtype, on: GPU.device, "GPU")
  }

  /// Logits that are matrix products: equal ones of 2 · 10¹⁵.
  @Test func ofProductsAreRight() throws {
    try expectLinear(on: .cpu)
  }

  @Test(.onGPU) func ofProductsAreRightOnAGPU() throws {
    try expectLinear(on: GPU.device)
  }

  private func expectLinear(on device: Device) throws {
    let (rows, classes) = (5, 7)
    let x = try Tensor.full([rows, 2], 1e7).contiguous().moved(to: device).tracked()
    let weight = try Tensor.full([classes, 2], 1e8).contiguous().moved(to: device).tracked()
    let loss = try x.linearCrossEntropy(
      weight: weight, targets: Tensor((0..<rows).map { Int32($0) }))
    #expect(try abs(loss.item() - log(Double(classes))) < 1e-6)
    // Differences of equal weights vanish; each class has a seventh of all rows, less its own.
    let gradients = try loss.gradients(of: [x, weight])
    let shares = (0..<classes).map {
      1e7 * (1 / Double(classes) - ($0 < rows ? 1 / Double(rows) : 0))
    }
    let expected = try Tensor(shares, [classes, 1]).expanded(to: [classes, 2])
    try expectClose(gradients[1].moved(to: .cpu), expected, within: 1e-5)
    let sums = try gradients[0].moved(to: .cpu).elements(as: Double.self)
    #expect(sums.allSatisfy { abs($0) < 1e8 * 1e-6 })
  }
}
