import AttentionTensors

/// The rows of the chunk that comes next, brought near while the one at work is computed: products
/// fetch what was asked for, a line now and then, and between products it is copied to where the
/// next chunk finds it.
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

  private struct Stream {
    let rows: TokenRows
    let factor: Float
    let scratch: Scratch
    /// What was copied, and which rows it is.
    var copied: UnsafeMutablePointer<Float>
    var place: Place?
  }

  private let length: Int
  private var streams: [Stream] = []
  private var asked: [(stream: Int, place: Place)] = []
  /// Those of ``asked`` before it are copied; it is on its way.
  private var next = 0

  /// - Parameter length: the most rows of a place.
  init(length: Int) { self.length = length }

  /// Adds a tensor, whose rows are multiplied by `factor`, and returns its number.
  func add(_ rows: TokenRows, factor: Float = 1) throws -> Int {
    let scratch = try Scratch(floats: length * rows.width)
    streams.append(Stream(rows: rows, factor: factor, scratch: scratch, copied: scratch.base))
    return streams.count - 1
  }

  /// Begins to bring `places` near, each of the stream of that number.
  func ask(_ places: [(stream: Int, place: Place)]) {
    for index in streams.indices { streams[index].place = nil }
    asked = places
    next = 0
    askNext()
  }

  /// Copies what is on its way and asks for the tensor after it; called between products.
  func advance() {
    guard next < asked.count else { return }
    let (number, place) = asked[next]
    let stream = streams[number]
    stream.rows.load(
      row: place.row, tokens: place.tokens, head: place.head, count: place.count,
      factor: stream.factor, to: stream.copied)
    streams[number].place = place
    next += 1
    askNext()
  }

  private func askNext() {
    guard next < asked.count else { return }
    let (number, place) = asked[next]
    streams[number].rows.ask(row: place.row, tokens: place.tokens, head: place.head)
  }

  /// Puts the rows of `place` into `target`, [count, width], whether they were asked for or not; the
  /// memory may become another.
  func take(_ number: Int, _ place: Place, into target: inout UnsafeMutablePointer<Float>) {
    while asked.dropFirst(next).contains(where: { $0.stream == number }) { advance() }
    if streams[number].place == place {
      swap(&streams[number].copied, &target)
      streams[number].place = nil
    } else {
      streams[number].rows.load(
        row: place.row, tokens: place.tokens, head: place.head, count: place.count,
        factor: streams[number].factor, to: target)
    }
  }
}
