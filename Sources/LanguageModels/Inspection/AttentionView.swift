import AttentionCLibrary
import AttentionLayers
import AttentionOperators
import AttentionTensors

/// What the layers of a model read while they read a text: of each attention call, exact or linear, a map for each
/// head.
///
/// Outputs are linear in the values. So the call is made again with a value for each token that is one in its own
/// place: its output is the map, with every mask, term, gate and erasing update that the call has.
public struct AttentionView: Sendable {
  public enum Kind: String, Sendable {
    case exact, linear
  }

  /// One head of a call.
  public struct Head: Sendable {
    /// How much each token's output has of each token's value, row by row, `tokens · tokens`. Rows of exact attention
    /// are probabilities, which sum to one where there is no sink.
    public var map: [Float]
    /// The mean over rows of the entropy of the sizes of their entries, in nats.
    public var entropy: Double
    /// Of linear attention: how much of each token's value is in the state after the last token, as the length of a
    /// column. Of exact attention, whose cache keeps all: the last row of the map.
    public var remembered: [Float]
    /// Of linear attention with a decay: the number of tokens after which it leaves 1/e of a state, the mean of
    /// log-decays over tokens and channels taken; infinite if nothing decays. Nil of exact attention.
    public var memoryLength: Double?
  }

  /// An attention call of a layer; layers without attention have none.
  public struct Call: Sendable {
    public var kind: Kind
    public var heads: [Head]
  }

  public let tokenCount: Int
  /// In the order of the calls, which is that of the layers.
  public let calls: [Call]

  /// The most tokens of a view: maps grow with their square.
  public static let mostTokens = 256

  /// Reads tokens from the start.
  ///
  /// - Parameters:
  ///   - model: the model.
  ///   - tokens: from 1 to ``mostTokens``, each below the vocabulary size.
  /// - Throws: ``GenerationError/invalidArgument(_:was:mustBe:)``, or what the model throws.
  public init(_ model: LanguageModel, tokens: [Int32]) throws {
    guard (1...Self.mostTokens).contains(tokens.count) else {
      throw GenerationError.invalidArgument(
        "prompt", was: "of \(tokens.count) tokens", mustBe: "of 1 to \(Self.mostTokens)")
    }
    if let token = tokens.first(where: { $0 < 0 || Int($0) >= model.vocabularySize }) {
      throw GenerationError.invalidArgument(
        "prompt", was: "with the token \(token)",
        mustBe: "of tokens in 0..<\(model.vocabularySize)")
    }
    let record = CallRecord()
    _ = try record.during { try model(Tensor(tokens, [1, tokens.count])) }
    tokenCount = tokens.count
    calls = try record.calls.compactMap { call in
      if let exact = call as? OperatorCall<ExactAttention> { return try Self.view(exact) }
      if let linear = call as? OperatorCall<LinearAttention> { return try Self.view(linear) }
      return nil
    }
  }

  /// Values in the shape of others, but as long as there are tokens: token s has a one in place s.
  private static func ones(like values: Tensor) throws -> Tensor {
    let (length, heads) = (values.shape[1], values.shape[2])
    var numbers = [Float](repeating: 0, count: length * heads * length)
    for token in 0..<length {
      for head in 0..<heads { numbers[(token * heads + head) * length + token] = 1 }
    }
    return try Tensor(numbers, [1, length, heads, length]).cast(to: values.dtype)
      .moved(to: values.device)
  }

  private static func view(_ call: OperatorCall<ExactAttention>) throws -> Call? {
    var inputs = call.inputs
    guard let values = inputs[.values], values.shape[0] == 1 else { return nil }
    inputs[.values] = try ones(like: values)
    let output = try OperatorCall<ExactAttention>(inputs, call.options).run().output
    let length = values.shape[1]
    let heads = try maps(output).map { map in
      Head(
        map: map, entropy: entropy(map, length), remembered: Array(map.suffix(length)),
        memoryLength: nil)
    }
    return Call(kind: .exact, heads: heads)
  }

  private static func view(_ call: OperatorCall<LinearAttention>) throws -> Call? {
    var inputs = call.inputs
    guard let values = inputs[.values], values.shape[0] == 1, inputs[.initialState] == nil else {
      return nil
    }
    inputs[.values] = try ones(like: values)
    let results = try OperatorCall<LinearAttention>(inputs, call.options).run()
    let length = values.shape[1]
    let maps = try maps(results.output)
    let state = results.finalState
    let keys = state.shape[2]
    let states = try state.elements(as: Float.self)
    let lengths = try memoryLengths(inputs[.decay], heads: maps.count)
    return Call(
      kind: .linear,
      heads: maps.enumerated().map { head, map in
        let remembered = (0..<length).map { token in
          (0..<keys).reduce(Float(0)) { sum, key in
            let number = states[(head * keys + key) * length + token]
            return sum + number * number
          }.squareRoot()
        }
        return Head(
          map: map, entropy: entropy(map, length), remembered: remembered,
          memoryLength: lengths[head])
      })
  }

  /// The map of each head, from an output [1, queries, heads, keys].
  private static func maps(_ output: Tensor) throws -> [[Float]] {
    try (0..<output.shape[2]).map {
      try output.selected(2, $0).cast(to: .float32).elements(as: Float.self)
    }
  }

  private static func entropy(_ map: [Float], _ length: Int) -> Double {
    let rows = map.count / max(1, length)
    let sum = (0..<rows).reduce(0.0) { sum, row in
      let sizes = map[row * length..<(row + 1) * length].map { Double(abs($0)) }
      let total = sizes.reduce(0, +)
      guard total > 0 else { return sum }
      return sum - sizes.reduce(0) { $1 > 0 ? $0 + $1 / total * log($1 / total) : $0 }
    }
    return sum / Double(max(1, rows))
  }

  private static func memoryLengths(_ decay: Tensor?, heads: Int) throws -> [Double] {
    guard let decay else { return [Double](repeating: .infinity, count: heads) }
    let numbers = try decay.cast(to: .float32).elements(as: Float.self)
    // [heads], [1, length, heads] or [1, length, heads, channels]
    let channels = decay.rank == 4 ? decay.shape[3] : 1
    return (0..<heads).map { head in
      let own = numbers.indices.filter { $0 / channels % heads == head }
      let mean = own.reduce(0.0) { $0 + Double(numbers[$1]) } / Double(max(1, own.count))
      return mean < 0 ? -1 / mean : .infinity
    }
  }
}
