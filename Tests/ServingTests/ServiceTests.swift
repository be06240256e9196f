import AttentionCLibrary
import AttentionLanguageModels
import Testing

@testable import AttentionServing

@Suite struct ServiceTests {
  @Test func aCompletionIsWhatTheModelGenerates() async throws {
    let server = try TinyServer()
    defer { server.engine.stop() }
    let answer = await server.post(
      "/v1/completions",
      #"{"model": "tiny", "prompt": "func f(", "max_tokens": 20, "temperature": 0}"#)
    #expect(answer.status == 200)
    let json = try answer.json
    #expect(json["object"] == .string("text_completion"))
    #expect(json["model"] == .string("tiny"))
    #expect(json[["choices", "0", "text"]] == .string(try server.alone("func f(", 20)))
    #expect(json[["choices", "0", "finish_reason"]] == .string("length"))
    #expect(json[["usage", "prompt_tokens"]] == .integer(7))
    #expect(json[["usage", "completion_tokens"]] == .integer(20))
    #expect(json[["usage", "total_tokens"]] == .integer(27))
    #expect(json[["usage", "prompt_tokens_details", "cached_tokens"]] == .integer(0))
  }

  @Test func aStreamHasTheSameText() async throws {
    let server = try TinyServer()
    defer { server.engine.stop() }
    let body = #"{"prompt": "let x", "max_tokens": 25, "seed": 3, "temperature": 1"#
    let whole = try await server.post("/v1/completions", body + "}").json
    let parts = try await server.post(
      "/v1/completions", body + #", "stream": true, "stream_options": {"include_usage": true}}"#
    ).events
    let text = parts.reduce(into: "") { text, part in
      if case .string(let piece)? = part[["choices", "0", "text"]] { text += piece }
    }
    #expect(whole[["choices", "0", "text"]] == .string(text))
    #expect(text == (try server.alone("let x", 25, seed: 3)))
    #expect(parts.last?[["usage", "completion_tokens"]] == .integer(25))
    #expect(parts.dropLast().last?[["choices", "0", "finish_reason"]] == .string("length"))
    #expect(Set(parts.map { $0["id"] }).count == 1)
  }

  @Test func aChatContinuesThePlainForm() async throws {
    let server = try TinyServer()
    defer { server.engine.stop() }
    let body = """
      {"messages": [{"role": "system", "content": "Be brief."},
       {"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "max_completion_tokens": 9,
       "temperature": 0
      """
    let expected = try server.alone("system: Be brief.\nuser: Hi\nassistant:", 9)
    let json = try await server.post("/v1/chat/completions", body + "}").json
    #expect(json["object"] == .string("chat.completion"))
    #expect(json[["choices", "0", "message", "role"]] == .string("assistant"))
    #expect(json[["choices", "0", "message", "content"]] == .string(expected))
    let parts = try await server.post("/v1/chat/completions", body + #", "stream": true}"#).events
    #expect(parts.first?[["choices", "0", "delta", "role"]] == .string("assistant"))
    let text = parts.reduce(into: "") { text, part in
      if case .string(let piece)? = part[["choices", "0", "delta", "content"]] { text += piece }
    }
    #expect(text == expected)
  }

  @Test func answersEndBeforeStopTexts() async throws {
    let server = try TinyServer()
    defer { server.engine.stop() }
    let full = try server.alone("abc", 40)
    let stop = String(full.dropFirst(10).prefix(3))
    let end = try #require(full.firstRange(of: stop))
    let body = ChatValue.members(
      ("prompt", .string("abc")), ("max_tokens", .integer(40)), ("temperature", .integer(0)),
      ("stop", .array([.string(stop)])))
    let json = try await server.post("/v1/completions", body.json).json
    #expect(json[["choices", "0", "text"]] == .string(String(full[..<end.lowerBound])))
    #expect(json[["choices", "0", "finish_reason"]] == .string("stop"))
  }

  @Test func severalAnswersHaveSeedsOfTheirOwn() async throws {
    let server = try TinyServer()
    defer { server.engine.stop() }
    let json = try await server.post(
      "/v1/completions",
      #"{"prompt": ["ab", "cd"], "n": 2, "seed": 5, "max_tokens": 12, "temperature": 1}"#
    ).json
    for (index, prompt) in ["ab", "ab", "cd", "cd"].enumerated() {
      let expected = try server.alone(prompt, 12, seed: 5 + UInt64(index % 2))
      #expect(json[["choices", "\(index)", "text"]] == .string(expected), "choice \(index)")
      #expect(json[["choices", "\(index)", "index"]] == .integer(index))
    }
    #expect(json[["usage", "prompt_tokens"]] == .integer(4))
    #expect(json[["usage", "completion_tokens"]] == .integer(48))
  }

  @Test func probabilitiesAreThoseOfTheModel() async throws {
    let server = try TinyServer()
    defer { server.engine.stop() }
    let json = try await server.post(
      "/v1/chat/completions",
      """
      {"messages": [{"role": "user", "content": "x"}], "max_tokens": 6, "temperature": 0,
       "logprobs": true, "top_logprobs": 20}
      """
    ).json
    guard case .array(let tokens)? = json[["choices", "0", "logprobs", "content"]] else {
      Issue.record("\(json.json)")
      return
    }
    #expect(tokens.count == 6)
    for token in tokens {
      guard case .array(let likeliest)? = token["top_logprobs"] else {
        Issue.record("\(token.json)")
        return
      }
      // The greedy choice is the likeliest, and the order falls.
      #expect(token["logprob"] == likeliest.first?["logprob"])
      let values = likeliest.compactMap { entry -> Double? in
        if case .number(let value)? = entry["logprob"] { value } else { nil }
      }
      #expect(values == values.sorted(by: >))
      #expect(values.count == 20)
      #expect(values.reduce(0) { $0 + exp($1) } <= 1)
    }
  }

  @Test func probabilitiesOfAllTokensSumToOne() throws {
    let logits = (0..<50).map { Float($0 % 7) }
    let token = ScoredToken(3, logits: logits, likeliest: 50) { "\($0)" }
    let sum = token.likeliest.reduce(0) { $0 + exp($1.logProbability) }
    #expect(abs(sum - 1) < 1e-12)
    #expect(token.likeliest[0].text == "6")
    #expect(token.logProbability == token.likeliest.first { $0.text == "3" }?.logProbability)
  }

  @Test(arguments: 0..<8)
  func jsonModeGivesJSON(seed: Int) async throws {
    let server = try TinyServer()
    defer { server.engine.stop() }
    let json = try await server.post(
      "/v1/chat/completions",
      """
      {"messages": [{"role": "user", "content": "x"}], "max_tokens": 400, "temperature": 1,
       "seed": \(seed), "response_format": {"type": "json_object"}}
      """
    ).json
    guard case .string(let text)? = json[["choices", "0", "message", "content"]] else {
      Issue.record("\(json.json)")
      return
    }
    // The object is complete, or it has the most tokens and every byte so far may belong to one.
    var grammar = JSONGrammar()
    let isAccepted = grammar.accept(text)
    #expect(isAccepted, "\(text)")
    if json[["choices", "0", "finish_reason"]] == .string("stop") {
      guard case .object = try ChatValue(json: Array(text.utf8), source: "answer") else {
        Issue.record("\(text)")
        return
      }
    } else {
      #expect(json[["usage", "completion_tokens"]] == .integer(400))
    }
  }

  @Test(arguments: [
    ("{", "invalid_json", "nil"), ("[]", "invalid_json", "nil"), ("", "invalid_json", "nil"),
    (#"{"prompt": 3}"#, "nil", "prompt"), (#"{"prompt": ""}"#, "nil", "prompt"),
    (#"{"prompt": [-1]}"#, "nil", "prompt"), (#"{"prompt": [256]}"#, "nil", "prompt"),
    (#"{"prompt": [["a"]]}"#, "nil", "prompt"), (#"{}"#, "nil", "prompt"),
    (#"{"prompt": "a", "temperature": -1}"#, "nil", "temperature"),
    (#"{"prompt": "a", "temperature": "x"}"#, "nil", "temperature"),
    (#"{"prompt": "a", "top_p": 0}"#, "nil", "top_p"),
    (#"{"prompt": "a", "max_tokens": 0}"#, "nil", "max_tokens"),
    (#"{"prompt": "a", "max_tokens": 5000}"#, "nil", "max_tokens"),
    (#"{"prompt": "a", "max_tokens": 40000}"#, "context_length_exceeded", "max_tokens"),
    (#"{"prompt": "a", "n": 17}"#, "nil", "n"), (#"{"prompt": "a", "stop": [""]}"#, "nil", "stop"),
    (#"{"prompt": "a", "logit_bias": {"5": 1}}"#, "unsupported_parameter", "logit_bias"),
    (#"{"prompt": "a", "response_format": {"type": "json_schema"}}"#, "nil", "response_format"),
  ])
  func wrongRequestsNameWhatIsWrong(body: String, code: String, parameter: String) async throws {
    let server = try TinyServer()
    defer { server.engine.stop() }
    let answer = await server.post("/v1/completions", body)
    #expect(answer.status == 400)
    func value(_ text: String) -> ChatValue { text == "nil" ? .null : .string(text) }
    #expect(try answer.json[["error", "code"]] == value(code), "\(answer.text)")
    #expect(try answer.json[["error", "param"]] == value(parameter), "\(answer.text)")
    #expect(try answer.json[["error", "type"]] == .string("invalid_request_error"))
  }

  @Test func keysOriginsPathsAndMethodsAreChecked() async throws {
    let server = try TinyServer(key: "secret")
    defer { server.engine.stop() }
    let key = ["Authorization": "Bearer secret"]
    #expect(await server.get("/health").status == 200)
    #expect(await server.get("/").status == 200)
    for wrong in [nil, "", "Bearer", "Bearer secre", "Bearer secret2", "Bearer Secret", "secret"] {
      let headers = wrong.map { ["Authorization": $0] } ?? [:]
      #expect(await server.get("/v1/models", headers: headers).status == 401, "\(wrong ?? "none")")
    }
    #expect(await server.get("/v1/models", headers: key).status == 200)
    #expect(await server.get("/v1/models/tiny", headers: key).status == 200)
    #expect(await server.get("/v1/models/other", headers: key).status == 404)
    #expect(await server.get("/v1/completions", headers: key).status == 405)
    let other = key.merging(["Origin": "http://elsewhere", "Host": "here:1"]) { $1 }
    #expect(await server.post("/v1/completions", "{}", headers: other).status == 403)
    let own = key.merging(["Origin": "http://here:1", "Host": "here:1"]) { $1 }
    #expect(await server.post("/v1/completions", "{}", headers: own).status == 400)
    let model = await server.post(
      "/v1/completions", #"{"model": "gpt", "prompt": "a"}"#, headers: key)
    #expect(model.status == 404)
    #expect(try model.json[["error", "code"]] == .string("model_not_found"))
  }

  @Test func aServerThatEndsSaysSo() async throws {
    let server = try TinyServer()
    server.engine.drain()
    let answer = await server.post("/v1/completions", #"{"prompt": "a"}"#)
    #expect(answer.status == 503)
    #expect(answer.headers["Retry-After"] != nil)
    #expect(await server.get("/health").status == 503)
    server.engine.stop()
  }

  @Test func metricsCountWhatWasServed() async throws {
    let server = try TinyServer()
    defer { server.engine.stop() }
    for _ in 0..<2 {
      _ = await server.post("/v1/completions", #"{"prompt": "abc", "max_tokens": 5}"#)
    }
    let lines = await server.get("/metrics").text.split(separator: "\n")
    for line in [
      "attention_prompt_tokens_total 6", "attention_prompt_tokens_reused_total 3",
      "attention_generated_tokens_total 10", "attention_first_token_seconds_count 2",
      "attention_between_tokens_seconds_count 8", #"attention_answers_total{status="200"} 2"#,
    ] { #expect(lines.contains { $0 == line }, "\(line)") }
  }
}
