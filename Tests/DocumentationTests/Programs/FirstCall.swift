import SwiftAttention

/// The program of Attention's article FirstCall.
enum FirstCall {
  static func run() throws {
    var random = Philox(seed: 0)
    let queries = try Tensor.normal([1, 1024, 8, 64], using: &random)
    let keys = try Tensor.normal([1, 1024, 2, 64], using: &random)
    let values = try Tensor.normal([1, 1024, 2, 64], using: &random)

    let mask = AttentionMask(isCausal: true, window: Window(left: 255, right: 0))
    let result = try attention(queries: queries, keys: keys, values: values, mask: mask)
    print(result.output.shape)  // [1, 1024, 8, 64]
    print(result.logSumExp.shape)  // [1, 8, 1024]

    print(result.explanation)
    let call = try OperatorCall<ExactAttention>(
      queries: queries, keys: keys, values: values, mask: mask)
    let verdict = try call.explanation()
    for candidate in verdict.candidates {
      print(candidate.kernel, candidate.objection?.reason ?? "could run it")
    }

    do {
      _ = try attention(
        queries: queries, keys: keys, values: values, mask: mask, kernel: "cpu.decode")
    } catch let error as AttentionError {
      print(error)
    }

    let trainable = queries.tracked()
    let output = try attention(queries: trainable, keys: keys, values: values, mask: mask).output
    let loss = try output.squared().mean()
    let gradient = try loss.gradients(of: [trainable])[0]
    print(gradient.shape)  // [1, 1024, 8, 64]

    let decay = try Tensor.uniform([1, 1024, 8], from: -0.1, to: 0, using: &random)
    let wide = try Tensor.normal([1, 1024, 8, 64], using: &random)
    let whole = try linearAttention(queries: wide, keys: wide, values: wide, decay: decay)

    let first = try wide.sliced(1, 0..<1000)
    let rest = try wide.sliced(1, 1000..<1024)
    let before = try linearAttention(
      queries: first, keys: first, values: first, decay: decay.sliced(1, 0..<1000))
    let after = try linearAttention(
      queries: rest, keys: rest, values: rest, decay: decay.sliced(1, 1000..<1024),
      initialState: before.finalState)
    let difference = try (after.output - whole.output.sliced(1, 1000..<1024)).absolute()
    print(try difference.elements(as: Float.self).max() ?? 0)  // close to 0

    try check(difference)
  }

  private static func check(_ difference: Tensor) throws {
    let largest = try difference.elements(as: Float.self).max() ?? .infinity
    guard largest < 1e-4 else { throw ProgramError("the state changes results by \(largest)") }
  }
}
