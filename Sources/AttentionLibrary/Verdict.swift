import Attention

extension Explanation {
  func table() -> String {
    (["\(self)"]
      + candidates.map {
        "\($0.kernel): \($0.objection?.reason ?? $0.seconds.map { "\($0) s" } ?? "")"
      }).joined(separator: "\n")
  }
}
