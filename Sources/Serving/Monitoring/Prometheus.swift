import AttentionTensors

extension Monitor.Values {
  /// The numbers in Prometheus' text format.
  func prometheus(limits: ServingLimits) -> String {
    var text = ""
    func put(_ name: String, _ kind: String, _ help: String, _ lines: [(String, String)]) {
      text += "# HELP attention_\(name) \(help)\n# TYPE attention_\(name) \(kind)\n"
      for (suffix, value) in lines { text += "attention_\(name)\(suffix) \(value)\n" }
    }
    func gauge(_ name: String, _ help: String, _ value: Int) {
      put(name, "gauge", help, [("", "\(value)")])
    }
    func counter(_ name: String, _ help: String, _ value: Int) {
      put(name, "counter", help, [("", "\(value)")])
    }
    func histogram(_ name: String, _ help: String, _ histogram: Histogram) {
      let buckets = zip(Histogram.bounds, histogram.cumulative).map {
        ("_bucket{le=\"\($0)\"}", "\($1)")
      }
      put(
        name, "histogram", help,
        buckets + [
          ("_bucket{le=\"+Inf\"}", "\(histogram.count)"), ("_sum", "\(histogram.sum)"),
          ("_count", "\(histogram.count)"),
        ])
    }
    gauge("sequences_running", "Sequences under way.", running)
    gauge("sequences_waiting", "Sequences that wait for a place.", waiting)
    gauge("sequences_limit", "The most sequences under way.", limits.runningSequences)
    counter("sequences_started_total", "Sequences begun.", started)
    counter("sequences_cancelled_total", "Sequences whose client left.", cancelled)
    counter("prompt_tokens_total", "Tokens of prompts, reused ones included.", promptTokens)
    counter(
      "prompt_tokens_reused_total", "Tokens of prompts whose states were kept.", reusedTokens)
    counter("generated_tokens_total", "Tokens generated.", generatedTokens)
    gauge("state_bytes", "Memory of the caches of sequences under way.", stateBytes)
    gauge("prefix_bytes", "Memory of states kept for later prompts.", prefixBytes)
    gauge("tensor_bytes", "Memory of all tensors, weights included.", MemoryPool.heldBytes)
    gauge("tensor_bytes_free", "Memory kept for further tensors.", MemoryPool.freeBytes)
    gauge("prefix_snapshots", "States kept for later prompts.", prefixCount)
    histogram("queue_seconds", "Time from a request to the start of a sequence.", queueTime)
    histogram("first_token_seconds", "Time from a request to the first token.", firstToken)
    histogram("between_tokens_seconds", "Time from a token to the next.", betweenTokens)
    put(
      "answers_total", "counter", "Answers by status.",
      answers.sorted { $0.key < $1.key }.map { ("{status=\"\($0.key)\"}", "\($0.value)") })
    return text
  }
}
