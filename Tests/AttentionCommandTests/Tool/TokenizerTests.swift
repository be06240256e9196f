import AttentionTensors
import Testing

extension Tool {
  fileprivate func write(_ text: String, to name: String) throws {
    try AtomicFile.write(text, to: path(name))
  }
}

@Suite struct TokenizerTests {
  private static let text = "the cat and the hat\n\né 漢字\tthe 🙂"

  /// A folder with a tokenizer made of a text.
  private static func trained() throws -> Tool {
    let tool = try Tool()
    try tool.write(text + "\n", to: "text.txt")
    let outcome = try tool(
      "tokenizer", "train", tool.path("text.txt"), "-o", tool.path("tokenizer.json"),
      "--vocabulary", "270", "--special", "<|end|>")
    #expect(outcome.exitCode == 0 && outcome.output.isEmpty, "\(outcome.error)")
    return tool
  }

  @Test func linesComeBack() throws {
    let tool = try Self.trained()
    try tool.write(Self.text + "<|end|>", to: "in.txt")
    let encoded = try tool(
      "tokenizer", "encode", tool.path("tokenizer.json"), tool.path("in.txt"))
    #expect(encoded.exitCode == 0, "\(encoded.error)")
    let lines = encoded.output.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.count == 4 && lines[1].isEmpty && lines[3].isEmpty)
    #expect(lines[2].hasSuffix(" 0"))
    try tool.write(encoded.output, to: "tokens.txt")
    let decoded = try tool(
      "tokenizer", "decode", tool.path("tokenizer.json"), tool.path("tokens.txt"))
    #expect(decoded.output == Self.text + "<|end|>\n")
    let plain = try tool(
      "tokenizer", "decode", "--skip-special", tool.path("tokenizer.json"),
      tool.path("tokens.txt"))
    #expect(plain.output == Self.text + "\n")
    let text = try tool(
      "tokenizer", "encode", "--plain", tool.path("tokenizer.json"), tool.path("in.txt"))
    #expect(!text.output.split(separator: "\n").last!.hasSuffix(" 0"))
  }

  @Test func mistakesNameThePlace() throws {
    let tool = try Self.trained()
    let path = tool.path("tokenizer.json")
    try tool.write("1 2\n3 x\n", to: "words.txt")
    expectMistake(
      try tool("tokenizer", "decode", path, tool.path("words.txt")), "words.txt, line 2", "x")
    try tool.write("1 99999\n", to: "large.txt")
    expectMistake(
      try tool("tokenizer", "decode", path, tool.path("large.txt")), "99999", "in 0..<")
    expectMistake(try tool("tokenizer", "encode", path, tool.path("none.txt")), "none.txt")
    expectMistake(try tool("tokenizer", "encode", tool.path("none"), path), "none")
    try tool.write(
      "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}",
      to: "bad.json")
    expectMistake(
      try tool("tokenizer", "encode", tool.path("bad.json"), path), "bad.json: model.merges[0]")
    expectMistake(
      try tool(
        "tokenizer", "train", tool.path("text.txt"), "-o", tool.path("x.json"), "--vocabulary", "9"),
      "--vocabulary is 9", "256...")
    expectMistake(
      try tool("tokenizer", "train", tool.path("text.txt"), "-o", tool.path("none/x.json")), "none")
  }

  @Test func conversationsBecomeText() throws {
    let tool = try Tool()
    try tool.write(
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}",
      to: "template.jinja")
    try tool.write(
      """
      {"messages": [{"role": "user", "content": "a \\"b\\""}]}
      {"messages": [], "tools": [{"z": 1, "a": "é"}]}
      """, to: "in.jsonl")
    let outcome = try tool(
      "tokenizer", "chat", tool.path("template.jinja"), tool.path("in.jsonl"))
    #expect(
      outcome.output == #"""
        "<user>a \"b\"\n"
        "[{\"z\": 1, \"a\": \"é\"}]"

        """#, "\(outcome.error)")
    try tool.write("{{ raise_exception('never') }}", to: "no.jinja")
    expectMistake(
      try tool("tokenizer", "chat", tool.path("no.jinja"), tool.path("in.jsonl")),
      "in.jsonl, line 1", "never")
  }
}
