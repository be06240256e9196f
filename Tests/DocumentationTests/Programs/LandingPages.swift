import AttentionServing
import SwiftAttention

/// The programs of the modules' landing pages, and of README.md.
enum LandingPages {
  static func attentionPage() throws {
    var random = Philox(seed: 0)
    let queries = try Tensor.normal([1, 1024, 8, 64], using: &random)
    let keys = try Tensor.normal([1, 1024, 2, 64], using: &random)  // 8 query heads share 2
    let values = try Tensor.normal([1, 1024, 2, 64], using: &random)
    let result = try attention(
      queries: queries, keys: keys, values: values, mask: AttentionMask(isCausal: true))
    print(result.output.shape, result.explanation, separator: "\n")
  }

  static func tensorsPage() throws {
    let x = try Tensor([1, 2, 3, 4] as [Float], [2, 2])
    let w = try Tensor([1, 0, 0, 1] as [Float], [2, 2]).tracked()
    let loss = try x.matmul(w).squared().mean()
    let gradient = try loss.gradients(of: [w])[0]

    let rows = try x[..., 0]  // [1, 3]
    let last = try x[-1, 1...]  // [4]
    print(last)
    // Tensor(float32 [1] on cpu)
    // [4.0]

    let first = try loss.gradients(of: [w], areDifferentiable: true)[0]
    let curvature = try first.sum().gradients(of: [w])[0]

    guard gradient.shape == [2, 2], rows.shape == [2], curvature.shape == [2, 2] else {
      throw ProgramError("shapes are \(gradient.shape), \(rows.shape), \(curvature.shape)")
    }
  }

  static func tensorsPageOnGPU() throws {
    let x = try Tensor.ones([64, 128]).moved(to: .cuda(0))
    let y = try x.matmul(x.transposed()) * 0.5
    let total = try y.sum().item()

    guard total == 64 * 64 * 64 else { throw ProgramError("the sum is \(total)") }
  }

  static func readme() throws {
    var random = Philox(seed: 0)
    let queries = try Tensor.normal([1, 1024, 8, 64], using: &random).tracked()
    let keys = try Tensor.normal([1, 1024, 2, 64], using: &random)  // 8 query heads share 2
    let values = try Tensor.normal([1, 1024, 2, 64], using: &random)
    let result = try attention(
      queries: queries, keys: keys, values: values, mask: AttentionMask(isCausal: true))
    let gradient = try result.output.squared().mean().gradients(of: [queries])[0]
    print(result.output.shape, gradient.shape, result.explanation, separator: "\n")
  }

  static func tokenizersPage(folder: String) throws {
    let tokenizer = try TextTokenizer(path: folder)
    let tokens = try tokenizer.encode("What is attention?")
    var decoder = tokenizer.decoder()
    for token in tokens { print(decoder.append(token), terminator: "") }
    print(decoder.finish())

    guard tokenizer.decode(tokens) == "What is attention?" else {
      throw ProgramError("the text is not decoded")
    }
  }

  static func servingPage(folder: String) async throws {
    let engine = try Engine(model: TextModel(folder: folder))
    let service = Service(engine: engine, name: "model")
    let request = Service.Request(method: "POST", path: "/v1/completions")
    let reply = await service.reply(to: request, body: Array(#"{"prompt": "Once"}"#.utf8))

    engine.stop()
    guard reply.status == 200, case .bytes(let bytes) = reply.body,
      case .array(let choices)? = try ChatValue(json: bytes, source: "reply")["choices"],
      choices.count == 1
    else { throw ProgramError("the reply is \(reply)") }
  }
}
