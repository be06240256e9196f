import AttentionLanguageModels
import AttentionLayers
import AttentionTensors
import TestSupport

@testable import AttentionServing

/// A tiny model with a recurrent, a windowed and a full layer, served.
struct TinyServer {
  let model: TextModel
  let engine: Engine
  let service: Service

  init(key: String? = nil, _ change: (inout ServingLimits) -> Void = { _ in }) throws {
    model = try Self.model()
    var limits = ServingLimits()
    limits.pieceLength = 16
    change(&limits)
    engine = try Engine(model: model, limits: limits)
    service = Service(engine: engine, name: "tiny", key: key)
  }

  private static func model() throws -> TextModel {
    var configuration = LanguageModelConfiguration(
      hiddenSize: 16,
      layers: LayerSchedule([
        .gatedLinear(.init(heads: 2)), .softmax(.init(heads: 2, window: 24)),
        .softmax(.init(heads: 2, keyValueHeads: 1)),
      ]))
    configuration.vocabularySize = 256
    let scope = ParameterScope(seed: 7, dtype: .float32)
    _ = try LanguageModel(configuration, scope: scope)
    let folder = TemporaryFolder()
    let path = folder.path("model")
    try Checkpoint(configuration: configuration, parameters: scope.parameters).write(to: path)
    return try TextModel(folder: path)
  }

  /// The tokens that the library generates for a prompt alone, in the engine's pieces.
  func alone(_ prompt: [Int32], _ count: Int, seed: UInt64? = nil) throws -> [Int32] {
    var options = model.options(maximumTokens: count)
    options.temperature = seed == nil ? 0 : 1
    options.seed = seed ?? 0
    options.prefillLength = engine.limits.pieceLength
    return try model.model.generate(prompt: prompt, options: options)
  }

  func alone(_ prompt: String, _ count: Int, seed: UInt64? = nil) throws -> String {
    ByteTokenizer().decode(try alone(try model.tokens(of: prompt), count, seed: seed))
  }

  func task(_ prompt: String, _ count: Int, temperature: Double = 0) throws -> GenerationTask {
    var options = model.options(maximumTokens: count)
    options.temperature = temperature
    return GenerationTask(prompt: try model.tokens(of: prompt), options: options)
  }

  /// The answer to a request, with its body as text.
  func post(_ path: String, _ body: String, headers: [String: String] = [:]) async -> Answered {
    let request = Service.Request(
      method: "POST", path: path, client: "test", header: { headers[$0] })
    if let refusal = service.refusal(of: request) { return await Answered(refusal) }
    return await Answered(await service.reply(to: request, body: Array(body.utf8)))
  }

  func get(_ path: String, headers: [String: String] = [:]) async -> Answered {
    let request = Service.Request(method: "GET", path: path, header: { headers[$0] })
    if let refusal = service.refusal(of: request) { return await Answered(refusal) }
    return await Answered(await service.reply(to: request))
  }

  struct Answered {
    let status: Int
    let headers: [String: String]
    let text: String

    init(_ reply: Service.Reply) async {
      status = reply.status
      headers = Dictionary(reply.headers.map { ($0.name, $0.value) }) { $1 }
      switch reply.body {
      case .bytes(let bytes): text = String(decoding: bytes, as: UTF8.self)
      case .stream(let events):
        var bytes: [UInt8] = []
        for await part in events { bytes += part }
        text = String(decoding: bytes, as: UTF8.self)
      }
    }

    var json: ChatValue { get throws { try ChatValue(json: Array(text.utf8), source: "answer") } }

    /// The events of a stream, without the last, which must be `[DONE]`.
    var events: [ChatValue] {
      get throws {
        let lines = text.split(separator: "\n\n").map { $0.dropFirst("data: ".count) }
        guard lines.last == "[DONE]" else { throw Unfinished(text: text) }
        return try lines.dropLast().map {
          try ChatValue(json: Array($0.utf8), source: "event")
        }
      }
    }
  }

  struct Unfinished: Error { let text: String }
}

extension ChatValue {
  subscript(path: [String]) -> ChatValue? {
    path.reduce(self) { value, name in
      if case .array(let elements)? = value, let index = Int(name) {
        return elements.indices.contains(index) ? elements[index] : nil
      }
      return value?[name]
    }
  }
}
