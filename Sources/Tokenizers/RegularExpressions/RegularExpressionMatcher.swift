import AttentionCLibrary

/// Matches one text with a ``RegularExpression``.
struct RegularExpressionMatcher {
  /// Where to go on when what follows fails.
  private struct Choice {
    /// The instruction that made the choice.
    let instruction: Int32
    /// `most`: the current end, which may go back to `limit`. Otherwise: where the instruction started.
    var offset: Int
    /// `most`: the earliest end. `fewest`: how many were consumed. `alternatives`: those that are left.
    var limit: UInt64
  }

  private let expression: RegularExpression
  private let text: UnsafeBufferPointer<UInt8>
  // The expression's tables, which its class keeps.
  private let instructions: UnsafeMutablePointer<RegularExpressionInstruction>
  private let memberships: UnsafeMutablePointer<UInt8>
  private let blocks: UnsafeMutablePointer<UInt32>
  private let words: UnsafeMutablePointer<UInt64>
  /// The choices that can be taken back, the last at `top` − 1; what lies beyond is memory to use again.
  private var choices: [Choice] = []
  private var top = 0
  private var steps = 0
  private let mostSteps: Int

  /// Steps of a match that any text may take, and how many more for each of its bytes.
  private static let freeSteps = 1 << 22
  private static let stepsPerByte = 64
  /// Choices that can be taken back.
  private static let mostChoices = 1 << 24

  init(_ expression: RegularExpression, _ text: UnsafeBufferPointer<UInt8>) {
    self.expression = expression
    self.text = text
    // Allocated memory has an address, also where it has no elements.
    instructions = expression.instructions.baseAddress!
    memberships = expression.memberships.baseAddress!
    blocks = expression.blocks.baseAddress!
    words = expression.words.baseAddress!
    mostSteps = Self.freeSteps + Self.stepsPerByte * text.count
  }

  private var tooManySteps: TokenizerError {
    .tooManySteps(pattern: expression.pattern, limit: mostSteps)
  }

  /// The end of the match that begins at `start`; −1 if there is none.
  @inline(__always)
  mutating func match(at start: Int) throws(TokenizerError) -> Int {
    try run(0, at: start)
  }

  /// Runs the program at `first` to its `accept`.
  private mutating func run(_ first: Int, at start: Int) throws(TokenizerError) -> Int {
    let bottom = top
    var instruction = first
    var offset = start
    while true {
      steps += 1
      let current = instructions[instruction]
      var isMatched = true
      switch current.kind {
      case .one:
        let end = consumeOne(Int(current.target), at: offset)
        isMatched = end >= 0
        offset = end
        instruction += 1
      case .most, .mostWithoutReturn, .fewest:
        (isMatched, offset) = consume(current, instruction, at: offset)
        instruction += 1
      case .split:
        // Repeated groups remember a choice for each round.
        guard top < Self.mostChoices else { throw tooManySteps }
        push(Choice(instruction: Int32(instruction), offset: offset, limit: 0))
        instruction = Int(current.target)
      case .jump:
        instruction = Int(current.target)
      case .alternatives:
        let byte = offset < text.count ? Int(text[offset]) : 256
        let table = Int(current.target)
        let mask = expression.masks[table &* RegularExpression.masksPerTable &+ byte]
        isMatched = mask != 0
        if isMatched { instruction = take(mask, of: table, instruction, offset) }
      case .assertion:
        isMatched = holds(current.target, at: offset)
        instruction += 1
      case .lookahead:
        let end = try run(instruction + 1, at: offset)
        isMatched = (end >= 0) != (current.other == 1)
        instruction = Int(current.target)
      case .atomic:
        let end = try run(instruction + 1, at: offset)
        isMatched = end >= 0
        offset = end
        instruction = Int(current.target)
      case .accept:
        top = bottom
        return offset
      }
      if isMatched { continue }
      guard steps <= mostSteps else { throw tooManySteps }
      guard resume(above: bottom, &instruction, &offset) else { return -1 }
    }
  }

  /// Goes on with the first alternative of `mask`, and remembers the others.
  @inline(__always)
  private mutating func take(_ mask: UInt64, of table: Int, _ instruction: Int, _ offset: Int)
    -> Int
  {
    let rest = mask & (mask &- 1)
    if rest != 0 {
      push(Choice(instruction: Int32(instruction), offset: offset, limit: rest))
    }
    return Int(
      expression.starts[table &* RegularExpression.startsPerTable &+ mask.trailingZeroBitCount])
  }

  /// Takes the last choice another way; false if none is left above `bottom`.
  private mutating func resume(
    above bottom: Int, _ instruction: inout Int, _ offset: inout Int
  ) -> Bool {
    while top > bottom {
      let last = top - 1
      let choice = choices[last]
      instruction = Int(choice.instruction)
      offset = choice.offset
      let made = instructions[instruction]
      switch made.kind {
      case .most:
        offset = text.startOfScalar(before: offset)
        if offset > Int(choice.limit) {
          choices[last].offset = offset
        } else {
          top -= 1
        }
        instruction += 1
      case .fewest:
        let end = consumeOne(Int(made.target), at: offset)
        guard end >= 0 else {
          top -= 1
          continue
        }
        choices[last].offset = end
        choices[last].limit += 1
        if choices[last].limit >= UInt64(made.maximum) { top -= 1 }
        offset = end
        instruction += 1
      case .alternatives:
        top -= 1
        instruction = take(choice.limit, of: Int(made.target), instruction, offset)
      default:
        top -= 1
        instruction = Int(made.other)
      }
      return true
    }
    return false
  }

  @inline(__always)
  private mutating func push(_ choice: Choice) {
    if top < choices.count { choices[top] = choice } else { choices.append(choice) }
    top += 1
  }

  // MARK: Consuming

  /// Where the scalar at `offset` ends; −1 if it is none of the class.
  @inline(__always)
  private func consumeOne(_ number: Int, at offset: Int) -> Int {
    guard offset < text.count else { return -1 }
    let byte = text[offset]
    switch memberships[number << 8 | Int(byte)] {
    case 0: return -1
    case 1: return offset &+ text.lengthOfScalar(at: offset)
    default:
      let length = text.lengthOfScalar(at: offset)
      return contains(number, text.scalar(at: offset, length: length)) ? offset &+ length : -1
    }
  }

  @inline(__always)
  private func contains(_ number: Int, _ scalar: UInt32) -> Bool {
    let block = Int(
      blocks[number &* RegularExpression.blocksPerClass &+ Int(scalar >> 8)])
    return words[block | Int(scalar >> 6) & 3] >> UInt64(scalar & 63) & 1 != 0
  }

  /// Consumes a run of a class's scalars, and remembers where else it could end.
  ///
  /// - Returns: false if there are too few; the new offset.
  @inline(__always)
  private mutating func consume(
    _ run: RegularExpressionInstruction, _ instruction: Int, at start: Int
  ) -> (Bool, Int) {
    let number = Int(run.target)
    var offset = start
    var count: Int32 = 0
    /// Where the run is long enough.
    var earliest = start
    let wanted = run.kind == .fewest ? run.minimum : run.maximum
    while count < wanted {
      let end = consumeOne(number, at: offset)
      if end < 0 { break }
      offset = end
      count &+= 1
      if count == run.minimum { earliest = end }
    }
    steps &+= Int(count)
    guard count >= run.minimum else { return (false, offset) }
    switch run.kind {
    case .most where offset > earliest:
      push(Choice(instruction: Int32(instruction), offset: offset, limit: UInt64(earliest)))
    case .fewest where run.minimum < run.maximum:
      push(Choice(instruction: Int32(instruction), offset: offset, limit: UInt64(count)))
    default: break
    }
    return (true, offset)
  }

  // MARK: Assertions

  private func holds(_ number: Int32, at offset: Int) -> Bool {
    let isLineBreak = { (offset: Int) in text[offset] == UInt8(ascii: "\n") }
    let isAtEnd = offset == text.count
    switch RegularExpressionNode.Assertion(rawValue: number) {
    case .textStart: return offset == 0
    case .textEnd: return isAtEnd
    case .textEndOrLastBreak: return isAtEnd || offset == text.count - 1 && isLineBreak(offset)
    case .lineStart: return offset == 0 || isLineBreak(offset - 1) && !isAtEnd
    case .lineEnd: return isAtEnd || isLineBreak(offset)
    case .wordBoundary: return isWord(before: offset) != isWord(at: offset)
    case .noWordBoundary: return isWord(before: offset) == isWord(at: offset)
    case nil: return false
    }
  }

  private func isWord(at offset: Int) -> Bool {
    guard offset < text.count else { return false }
    let length = text.lengthOfScalar(at: offset)
    return expression.wordTable.contains(text.scalar(at: offset, length: length))
  }

  private func isWord(before offset: Int) -> Bool {
    offset > 0 && isWord(at: text.startOfScalar(before: offset))
  }
}
