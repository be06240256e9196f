import AttentionTensors

/// The rows of the next chunk, brought near while this one is computed: products fetch what was asked for, a
/// line now and then, and once it has arrived it is copied to where the next chunk finds it.
///
/// The rows of one head lie apart by all heads, and so many rows at such distances share few places
/// of the second cache: so one tensor after the other is asked for and copied.
final class RowsAhead {
  /// Rows of a tensor: those of `tokens`, and zeros behind them up to `count`.
  struct Place: Equatable {
    let row: Int
    let head: Int
    let tokens: Range<Int>
    let count: Int
  }

  /// A tensor whose rows are multiplied by a factor.
  struct Source {
    let rows: TokenRows
    let factor: Float

    func load(_ place: Place, to target: UnsafeMutablePointer<Float>) {
      rows.load(
        row: place.row, tokens: place.tokens, head: place.head, count: place.count,
        factor: factor, to: target)
    }
  }

  /// Multiply-adds of a product per line that it fetches.
  private let multiplyAddsPerLine: Int
  /// Of each source what was copied, and which rows it is.
  private var copied: [(rows: UnsafeMutablePointer<Float>, place: Place?)]
  /// Those of ``asked`` before ``next`` are copied; it is on its way.
  private var asked: [(number: Int, source: Source, place: Place)] = []
  private var next = 0
  /// Multiply-adds after which all that was asked for has arrived.
  private var missing = 0

  /// - Parameters:
  ///   - widths: of the rows of each source; 0 where there is none.
  ///   - length: the most rows of a place.
  init(widths: [Int], length: Int, tile: Int, _ arena: inout Arena) {
    multiplyAddsPerLine = 16 * tile
    copied = widths.map { (arena.take(length * $0), nil) }
  }

  /// Begins to bring `places` near, each of the source of that number.
  func ask(_ places: [(number: Int, source: Source, place: Place)]) {
    for number in copied.indices { copied[number].place = nil }
    asked = places
    next = 0
    askNext()
  }

  /// Asks for the places of rows that are going to be written.
  func ask(_ output: TokenRowsOutput, row: Int, tokens: Range<Int>, head: Int) {
    missing += output.ask(row: row, tokens: tokens, head: head) * multiplyAddsPerLine
  }

  /// Tells that a product fetched as many lines as come to its size.
  func fetched(multiplyAdds: Int) {
    missing -= multiplyAdds
    if missing <= 0 {
      missing = 0
      copyNext()
    }
  }

  /// Copies what is on its way and asks for the tensor after it.
  private func copyNext() {
    guard next < asked.count else { return }
    let (number, source, place) = asked[next]
    source.load(place, to: copied[number].rows)
    copied[number].place = place
    next += 1
    askNext()
  }

  private func askNext() {
    guard next < asked.count else { return }
    let (_, source, place) = asked[next]
    missing +=
      source.rows.ask(row: place.row, tokens: place.tokens, head: place.head)
      * multiplyAddsPerLine
  }

  /// Puts the rows of `place` into `target`, [count, width], whether they were asked for or not; the
  /// memory may become another.
  func take(
    _ number: Int, _ source: Source, _ place: Place, into target: inout UnsafeMutablePointer<Float>
  ) {
    while asked.dropFirst(next).contains(where: { $0.number == number }) { copyNext() }
    if copied[number].place == place {
      swap(&copied[number].rows, &target)
      copied[number].place = nil
    } else {
      source.load(place, to: target)
    }
  }
}
