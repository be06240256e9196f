extension Int {
  /// How many pieces of `size` cover this many.
  package func pieces(of size: Int) -> Int { (self + size - 1) / size }

  /// The first multiple of `step` from here on.
  package func rounded(up step: Int) -> Int { pieces(of: step) * step }
}
