import AttentionTensors

/// Prefetches the rows of the next chunk while this one is computed: products fetch the queued
/// lines one at a time, and rows that have arrived are copied into buffers for the next chunk.
///
/// Rows of one head are separated by those of all other heads. Many rows at such strides map to few
/// sets of the second-level cache, so tensors are queued and copied one after the other.
final class RowsAhead {
  /// Rows of a tensor: those of `tokens`, followed by zeros up to `count`.
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
  /// The buffer of each source, and the rows that it holds.
  private var copied: [(rows: UnsafeMutablePointer<Float>, place: Place?)]
  /// The requested rows: those before index ``next`` are copied, that at ``next`` is being fetched.
  private var asked: [(number: Int, source: Source, place: Place)] = []
  private var next = 0
  /// The multiply-adds after which all queued lines have arrived.
  private var missing = 0

  /// - Parameters:
  ///   - widths: the row width of each source; 0 if there is none.
  ///   - length: the most rows of a place.
  init(widths: [Int], length: Int, tile: Int, _ arena: inout Arena) {
    multiplyAddsPerLine = 16 * tile
    copied = widths.map { (arena.take(length * $0), nil) }
  }

  /// Starts prefetching `places`, each with the number of its source.
  func ask(_ places: [(number: Int, source: Source, place: Place)]) {
    for number in copied.indices { copied[number].place = nil }
    asked = places
    next = 0
    askNext()
  }

  /// Queues the memory of rows that will be written.
  func ask(_ output: TokenRowsOutput, row: Int, tokens: Range<Int>, head: Int) {
    missing += output.ask(row: row, tokens: tokens, head: head) * multiplyAddsPerLine
  }

  /// Records that a product of this size has fetched its share of lines.
  func fetched(multiplyAdds: Int) {
    missing -= multiplyAdds
    if missing <= 0 {
      missing = 0
      copyNext()
    }
  }

  /// Copies the rows that were being fetched and queues those of the next tensor.
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

  /// Loads the rows of `place` into `target`, [count, width], whether or not they were prefetched;
  /// `target` may be exchanged for another buffer.
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
