import AttentionOperators
import AttentionTensors

/// A case of an elementary operation.
public struct ElementaryCase: ConformanceCase {
  public var dtype: DType
  /// Whether the order of the operands' axes in memory differs from the shapes.
  public var isStrided: Bool
  let operation: ElementaryOperation
  let shapes: [Shape]

  public var name: String {
    "\(operation.name) of \(shapes.map(\.description).joined(separator: " and ")) "
      + dtype.rawValue + (isStrided ? ": strided" : "")
  }

  public func makeProblem(seed: UInt64) throws -> any ConformanceProblem {
    try ElementaryProblem(self, Draw(seed: seed, label: name))
  }

  /// Every operation in every dtype at every shape, alternately with contiguous and strided operands.
  ///
  /// - Parameter isQuick: whether each operation has one shape.
  public static func all(isQuick: Bool) -> [ElementaryCase] {
    var cases: [ElementaryCase] = []
    for operation in ElementaryOperation.all {
      for shapes in isQuick ? Array(operation.shapes.prefix(1)) : operation.shapes {
        for dtype in [DType.float32, .bfloat16, .float16, .float64] {
          cases.append(
            ElementaryCase(
              dtype: dtype, isStrided: cases.count % 3 == 1, operation: operation, shapes: shapes))
        }
      }
    }
    return cases
  }
}

/// The operands of a case.
private struct ElementaryProblem: ConformanceProblem {
  private let settings: ElementaryCase
  private let inputs: [Tensor]
  private let draw: Draw

  var dtype: DType { settings.dtype }
  var reference: String { "cpu.reference" }
  var unfused: String? { nil }

  init(_ settings: ElementaryCase, _ draw: Draw) throws {
    self.settings = settings
    self.draw = draw
    let range = settings.operation.range
    inputs = try settings.shapes.enumerated().map { index, shape in
      let tensor = try draw.uniform("\(index)", shape, from: range.low, to: range.high)
        .cast(to: settings.dtype)
      return settings.isStrided && shape.rank > 1 ? try tensor.restrided(0, -1) : tensor
    }
  }

  func kernels(needsGradient: Bool) throws -> [String] { ["cpu.elementary"] }

  func candidates(on device: Device, needsGradient: Bool) throws -> [Explanation.Candidate] {
    [Explanation.Candidate(running: "cuda.elementary")]
  }

  func results(kernel: String, isExact: Bool, gradients: Bool) throws -> [String: Tensor] {
    try results(on: .cpu, isExact: isExact, gradients: gradients)
  }

  func results(kernel: String, on device: Device, gradients: Bool) throws -> [String: Tensor] {
    try results(on: device, isExact: false, gradients: gradients)
  }

  private func results(on device: Device, isExact: Bool, gradients: Bool) throws
    -> [String: Tensor]
  {
    let operands = try inputs.map { input in
      let tensor = try input.placed(on: device).cast(to: isExact ? .float64 : dtype)
      return gradients ? tensor.tracked() : tensor
    }
    let output = try settings.operation.apply(operands)
    var results = ["output": output]
    if gradients {
      let incoming = try draw.uniform("output gradient", output.shape, from: 0.5, to: 1.5)
        .cast(to: dtype).cast(to: output.dtype).moved(to: device)
      let computed = try output.gradients(of: operands, seed: incoming)
      for (index, gradient) in computed.enumerated() { results["\(index)_gradient"] = gradient }
    }
    return try results.mapValues { try $0.detached().moved(to: .cpu) }
  }

  /// Operands are drawn so that no terms cancel.
  func termSizes(reference: [String: Tensor]) throws -> [String: Double] { [:] }

  func exactViolation(_ results: [String: Tensor], reference: [String: Tensor]) throws -> String? {
    nil
  }
}
