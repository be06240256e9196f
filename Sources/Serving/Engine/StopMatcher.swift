/// Finds stop texts in an answer that arrives in pieces.
///
/// Text that may be the beginning of a stop text is held back until more has arrived.
struct StopMatcher: Sendable {
  private let stops: [[UInt8]]
  private var held: [UInt8] = []

  /// - Parameter stops: texts that are not empty.
  init(_ stops: [String]) { self.stops = stops.map { Array($0.utf8) } }

  /// Adds a piece.
  ///
  /// - Returns: the text that comes before any stop text, and whether one has been found. After that, nothing
  ///   may be added.
  mutating func append(_ piece: String) -> (text: String, isStopped: Bool) {
    guard !stops.isEmpty else { return (piece, false) }
    held += piece.utf8
    for start in held.indices {
      let rest = held[start...]
      if stops.contains(where: { rest.starts(with: $0) }) {
        return (take(start), true)
      }
      // The rest may become a stop text, so nothing behind its start is certain.
      if stops.contains(where: { $0.count > rest.count && $0.starts(with: rest) }) {
        return (take(start), false)
      }
    }
    return (take(held.count), false)
  }

  /// The text held back, when the answer ends otherwise.
  mutating func finish() -> String { take(held.count) }

  /// Stop texts begin with a character's first byte, so the cut is between characters.
  private mutating func take(_ count: Int) -> String {
    let text = String(decoding: held[..<count], as: UTF8.self)
    held.removeFirst(count)
    return text
  }
}
