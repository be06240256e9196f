import AttentionTensors

/// A call of linear attention without its numbers: everything that decides which kernel runs.
public struct LinearProblem: RecurrenceProblem {
  /// The elements of the state that share one decay.
  public enum Decay: String, Hashable, Sendable, Codable {
    case none
    case perHead = "per head"
    case perToken = "per token"
    case perChannel = "per channel"
  }

  /// How a token changes the state.
  public enum Update: String, Hashable, Sendable, Codable {
    case additive
    /// Additive; queries read the state before the write, with a bonus for the token itself.
    case additiveBefore = "additive after reading"
    case delta
    case generalizedDelta = "generalised delta"
    case lowRank = "low rank"

    /// Whether a token erases from the state what it reads there.
    public var isErasing: Bool { self != .additive && self != .additiveBefore }
  }

  public var tokens: RecurrenceTokens
  /// Heads of queries and keys; they divide ``valueHeads``.
  public var heads: Int
  /// Heads of values, decay and state.
  public var valueHeads: Int
  public var keyDimension: Int
  public var valueDimension: Int
  public var decay: Decay
  public var update: Update
  public var normalizesQueriesAndKeys: Bool

  /// The number of independent recurrences: one per sequence and value head.
  var recurrences: Int { sequences * valueHeads }

  /// Bytes of queries, keys, values, decay, update and output, each moved once, and of the states.
  var bytes: Double {
    let decayWidth =
      switch decay {
      case .none, .perHead: 0
      case .perToken: valueHeads
      case .perChannel: valueHeads * keyDimension
      }
    let updateWidth =
      switch update {
      case .additive, .additiveBefore: 0
      case .delta: valueHeads
      case .generalizedDelta: valueHeads * keyDimension
      case .lowRank: 2 * valueHeads * keyDimension
      }
    let width =
      2 * heads * keyDimension + 2 * valueHeads * valueDimension + decayWidth + updateWidth
    let state = keyDimension * valueDimension * MemoryLayout<Float>.size
    return Double(batch * length) * Double(width * dtype.size)
      + Double(2 * recurrences) * Double(state)
  }
}

extension LinearProblem {
  public var description: String {
    var words = [
      "\(dtype.rawValue) queries \(Shape([batch, length, heads, keyDimension]))",
      "values \(Shape([batch, length, valueHeads, valueDimension]))",
      decay == .none ? "no decay" : "decay \(decay.rawValue)",
      "\(update.rawValue) update",
    ]
    if normalizesQueriesAndKeys { words.append("normalised queries and keys") }
    return (words + tokens.words).joined(separator: ", ")
  }
}
