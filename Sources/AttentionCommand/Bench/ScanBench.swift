import AttentionOperators
import AttentionTensors

/// Races of the scans: all kernels except the reference. The rate of a gated scan counts bytes, that of a
/// selective scan exponentials.
struct ScanBench {
  let isSelective: Bool
  let scale: BenchScale

  static let channels = 1024
  static let selectiveChannels = 512
  private static let states = 16

  func contenders(_ task: RaceTask) throws -> [Contender] {
    let shape: Shape = [task.batch, task.length, task.dimension]
    func normal(_ label: String, _ shape: Shape, _ dtype: DType = .float32) throws -> Tensor {
      var generator = Philox(seed: 0, label: label)
      return try .normal(shape, using: &generator, dtype: dtype)
    }
    func uniform(_ label: String, _ shape: Shape, from low: Double, to high: Double) throws
      -> Tensor
    {
      var generator = Philox(seed: 0, label: label)
      return try .uniform(shape, from: low, to: high, using: &generator)
    }
    let inputs = try normal("inputs", shape, task.dtype)
    let incoming = try normal("output_gradient", shape, task.dtype).moved(to: scale.device)
    var sources: [Tensor]
    if isSelective {
      let matrix: Shape = [task.batch, task.length, Self.states]
      sources = [
        inputs, try uniform("step", shape, from: 0.001, to: 0.1).cast(to: task.dtype),
        try uniform("state_matrix", [task.dimension, Self.states], from: -16, to: -1),
        try normal("input_matrix", matrix), try normal("output_matrix", matrix),
      ]
    } else {
      sources = [inputs, try uniform("decay", shape, from: -0.2, to: 0).cast(to: task.dtype)]
    }
    sources = try scale.place(sources)
    let placed = sources
    let needsGradient = task.pass == .training
    return try kernels(placed, needsGradient).map { kernel in
      Contender(kernel: kernel) {
        let leaves = needsGradient ? placed.map { $0.tracked() } : placed
        let output = try run(leaves, kernel)
        guard needsGradient else { return [output] }
        return try [output.detached()] + output.gradients(of: leaves, seed: incoming)
      }
    }
  }

  private func run(_ sources: [Tensor], _ kernel: String) throws -> Tensor {
    isSelective
      ? try selectiveScan(
        inputs: sources[0], step: sources[1], stateMatrix: sources[2], inputMatrix: sources[3],
        outputMatrix: sources[4], kernel: kernel
      ).output
      : try gatedScan(inputs: sources[0], decay: sources[1], kernel: kernel).output
  }

  /// The kernels that race.
  private func kernels(_ sources: [Tensor], _ needsGradient: Bool) throws -> [String] {
    let explanation =
      isSelective
      ? try OperatorCall<SelectiveScan>(
        inputs: sources[0], step: sources[1], stateMatrix: sources[2], inputMatrix: sources[3],
        outputMatrix: sources[4]
      ).explanation(needsGradient: needsGradient)
      : try OperatorCall<GatedScan>(inputs: sources[0], decay: sources[1])
        .explanation(needsGradient: needsGradient)
    return explanation.candidates.filter {
      $0.objection == nil && !$0.kernel.hasSuffix("reference")
    }.map(\.kernel)
  }

  /// Bytes: forward inputs, decay and output; backward decay, output and its gradient, and two gradients.
  /// Exponentials: one per token, channel and state, and another one for the gradients.
  func task(_ pass: RaceTask.Pass, _ dtype: DType, length: Int, channels: Int) -> RaceTask {
    let batch = scale.batch(length: length)
    let numbers = Double(batch * length * channels)
    let (forwardNumbers, trainingNumbers) = (3.0, 8.0)
    let counted =
      isSelective
      ? numbers * Double(Self.states) * (pass == .forward ? 1 : 2)
      : numbers * Double(dtype.size) * (pass == .forward ? forwardNumbers : trainingNumbers)
    return RaceTask(
      operation: isSelective ? "selective scan" : "scan", pass: pass, dtype: dtype,
      batch: batch, length: length, heads: 1, dimension: channels, operations: counted,
      unit: isSelective ? .exponentials : .bytes)
  }
}
