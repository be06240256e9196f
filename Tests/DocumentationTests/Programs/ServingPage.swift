import AttentionServing
import SwiftAttention

/// The program of the landing page of serving.
enum ServingPage {
  static func run(folder: String) async throws {
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
