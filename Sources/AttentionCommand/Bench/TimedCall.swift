import ArgumentParser
import AttentionTensors

/// The pass of a call that `attention time` measures.
enum TimedPass: String, CaseIterable, ExpressibleByArgument {
  case forward, backward, training
}

/// The operation that `attention time` calls: an operator, or a matrix product.
enum TimedOperator {
  case attention(OperatorName)
  case matmul

  init(argument: String) throws {
    self = argument == "matmul" ? .matmul : .attention(try OperatorName(argument: argument))
  }
}

/// A repeatable call, with all preparation done.
struct TimedCall {
  /// The kernel that runs.
  let kernel: String
  private let body: () throws -> Void

  func run() throws { try body() }

  init(_ operation: TimedOperator, path: String, _ flags: OperatorFlags, _ pass: TimedPass) throws {
    let device = try OperatorFlags.device(named: flags.device)
    let file = try SafetensorsFile(path: path)
    let tensors = Dictionary(
      uniqueKeysWithValues: try file.names.map {
        ($0, try file.tensor(named: $0).moved(to: device))
      })
    switch operation {
    case .matmul:
      self = try Self.matmul(tensors, path: path, pass)
    case .attention(let name):
      let inputs = try NamedTensors(tensors, for: name, source: path)
      let call = try name.invocation(inputs, flags)
      switch pass {
      case .forward:
        kernel = try call.explain(needsGradient: false).chosen ?? ""
        body = { _ = try call.run() }
      case .training:
        kernel = try call.explain(needsGradient: true).chosen ?? ""
        // Without an output gradient, the backward pass would end before it reaches the kernel.
        let leaves = try inputs.withGradient(of: call.run().required("output")).tracked()
        body = { _ = try name.invocation(leaves, flags).runWithGradients(of: leaves) }
      case .backward:
        let leaves = inputs.tracked()
        let outputs = try name.invocation(leaves, flags).run()
        kernel = outputs.explanation.chosen ?? ""
        let incoming = try inputs.withGradient(of: outputs.required("output").detached())
          .incoming(to: outputs)
        let sources = try leaves.differentiable.map { try leaves.required($0) }
        body = { _ = try Tensor.gradients(of: sources, through: incoming) }
      }
    }
  }

  private init(kernel: String, body: @escaping () throws -> Void) {
    self.kernel = kernel
    self.body = body
  }

  private static func matmul(_ tensors: [String: Tensor], path: String, _ pass: TimedPass) throws
    -> TimedCall
  {
    guard let left = tensors["left"], let right = tensors["right"], tensors.count == 2 else {
      throw CommandError(
        "\(path): tensors", was: tensors.keys.sorted().joined(separator: ", "),
        mustBe: "left and right")
    }
    guard pass == .forward else {
      throw CommandError("--pass", was: pass.rawValue, mustBe: "forward for matmul")
    }
    return TimedCall(kernel: "matmul") { _ = try left.matmul(right) }
  }
}
