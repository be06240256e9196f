import AttentionOperators
import AttentionTensors

/// One combination of shapes and options of linear attention, with random arguments.
struct LinearCase: CustomStringConvertible, Sendable {
  enum Layout: String, CaseIterable { case dense, transposed, wide }

  var batch = 2
  var length = 70
  var heads = 2
  var valueHeads = 2
  var keyDimension = 24
  var valueDimension = 20
  var dtype = DType.float32
  var decay = LinearProblem.Decay.perToken
  var update = LinearProblem.Update.additive
  /// Cumulative lengths; if given, the batch is 1.
  var packed: [Int]?
  var hasInitialState = true
  var normalizes = false
  var layout = Layout.dense
  /// The logarithm of the strongest decay.
  var strongest = -20.0
  var seed: UInt64 = 1

  var description: String {
    "[\(rows), \(length), \(heads)/\(valueHeads), \(keyDimension)→\(valueDimension)] "
      + "\(dtype.rawValue), decay \(decay.rawValue) to \(strongest), "
      + "\(update.rawValue) update, packed \(packed ?? []), "
      + "initial state \(hasInitialState), normalised \(normalizes), \(layout.rawValue), "
      + "seed \(seed)"
  }

  var rows: Int { packed == nil ? batch : 1 }
  var sequences: Int { packed.map { $0.count - 1 } ?? batch }

  /// The arguments, and gradients of both results.
  struct Arguments {
    var queries, keys, values: Tensor
    var decay, initialState, cumulativeLengths: Tensor?
    var update: LinearUpdate
    var outputGradient, finalStateGradient: Tensor
    var normalizes: Bool

    func callAsFunction(_ kernel: String?) throws -> LinearAttentionResult {
      try linearAttention(
        queries: queries, keys: keys, values: values, decay: decay, update: update,
        normalizesQueriesAndKeys: normalizes, initialState: initialState,
        cumulativeLengths: cumulativeLengths, kernel: kernel)
    }

    /// The same numbers in float64, for the reference.
    func wide() throws -> Arguments {
      var copy = self
      copy.queries = try queries.cast(to: .float64)
      copy.keys = try keys.cast(to: .float64)
      copy.values = try values.cast(to: .float64)
      copy.decay = try decay?.cast(to: .float64)
      copy.update = try update.mapTensors { try $0.cast(to: .float64) }
      copy.initialState = try initialState?.cast(to: .float64)
      copy.outputGradient = try outputGradient.cast(to: .float64)
      copy.finalStateGradient = try finalStateGradient.cast(to: .float64)
      return copy
    }

    /// The same with a range of tokens, from another state.
    func sliced(_ tokens: Range<Int>, from state: Tensor?) throws -> Arguments {
      var copy = self
      copy.queries = try queries.sliced(1, tokens)
      copy.keys = try keys.sliced(1, tokens)
      copy.values = try values.sliced(1, tokens)
      copy.decay = try decay.map { $0.rank > 1 ? try $0.sliced(1, tokens) : $0 }
      copy.update = try update.mapTensors { $0.rank > 2 ? try $0.sliced(1, tokens) : $0 }
      copy.initialState = state
      return copy
    }

    func tracked() -> Arguments {
      var copy = self
      copy.queries = queries.tracked()
      copy.keys = keys.tracked()
      copy.values = values.tracked()
      copy.decay = decay?.tracked()
      copy.update = update.mapTensors { $0.tracked() }
      copy.initialState = initialState?.tracked()
      return copy
    }

    /// The gradients of Σ output · outputGradient + Σ finalState · finalStateGradient, by name.
    func gradients(_ kernel: String?) throws -> [String: Tensor] {
      let inputs = tracked()
      let result = try inputs(kernel)
      let type = outputGradient.dtype == .float64 ? DType.float64 : .float32
      let loss =
        try (result.output * outputGradient).cast(to: type).sum()
        + (result.finalState * finalStateGradient).sum()
      var named = [("queries", inputs.queries), ("keys", inputs.keys), ("values", inputs.values)]
      if let decay = inputs.decay { named.append(("decay", decay)) }
      if let state = inputs.initialState { named.append(("initialState", state)) }
      for (index, tensor) in inputs.update.tensors.enumerated() {
        named.append(("update \(index)", tensor))
      }
      let gradients = try loss.gradients(of: named.map(\.1))
      return Dictionary(uniqueKeysWithValues: zip(named.map(\.0), gradients))
    }
  }

  func arguments() throws -> Arguments {
    var random = SplitMix(state: seed &* 0x9E37_79B9_7F4A_7C15)
    func tensor(_ dimensions: [Int], _ draw: () -> Double) throws -> Tensor {
      let count = dimensions.reduce(1, *)
      return try Tensor((0..<count).map { _ in draw() }, Shape(dimensions)).cast(to: dtype)
    }
    func normal() -> Double { random.normal() }
    func tokens(_ heads: Int, _ width: Int) throws -> Tensor {
      switch layout {
      case .dense: try tensor([rows, length, heads, width], normal)
      case .transposed: try tensor([rows, heads, length, width], normal).transposed(1, 2)
      case .wide:
        try tensor([rows, length, heads, width + 3], normal).sliced(3, 2..<width + 2)
      }
    }
    // A third of the gates are nearly open, a third moderate, a third of any strength.
    func gate() -> Double {
      let u = random.uniform()
      switch Int(random.uniform() * 3) {
      case 0: return -0.01 * u
      case 1: return -u
      default: return strongest * u
      }
    }
    let decayShape: [Int]? =
      switch decay {
      case .none: nil
      case .perHead: [valueHeads]
      case .perToken: [rows, length, valueHeads]
      case .perChannel: [rows, length, valueHeads, keyDimension]
      }
    let stateShape = Shape([sequences, valueHeads, keyDimension, valueDimension])
    func state() throws -> Tensor {
      try Tensor((0..<stateShape.elementCount).map { _ in normal() }, stateShape)
        .cast(to: .float32)
    }
    // Read keys of a quarter of the norm and more erase about as much as they find.
    func readKeys(_ share: Double) throws -> Tensor {
      let size = share / Double(keyDimension).squareRoot()
      return try (tokens(valueHeads, keyDimension).cast(to: .float32) * size).cast(to: dtype)
    }
    let update: LinearUpdate =
      switch update {
      case .additive: .additive
      case .additiveBefore:
        .additiveBefore(bonus: try tensor([valueHeads, keyDimension], normal))
      case .delta:
        .delta(beta: try tensor([rows, length, valueHeads]) { 2 * random.uniform() })
      case .generalizedDelta: .generalizedDelta(readKeys: try readKeys(0.5))
      case .lowRank: .lowRank(a: try readKeys(-0.7), b: try readKeys(0.7))
      }
    return Arguments(
      queries: try tokens(heads, keyDimension), keys: try tokens(heads, keyDimension),
      values: try tokens(valueHeads, valueDimension),
      decay: try decayShape.map { try tensor($0, gate) },
      initialState: hasInitialState ? try state() : nil,
      cumulativeLengths: try packed.map { try Tensor($0.map(Int32.init)) }, update: update,
      outputGradient: try tensor([rows, length, valueHeads, valueDimension], normal),
      finalStateGradient: try state(), normalizes: normalizes)
  }
}

/// SplitMix64, and draws from it.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// In [0, 1).
  mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// Approximately normal with standard deviation 1: the sum of twelve uniform numbers, minus 6.
  mutating func normal() -> Double { (0..<12).reduce(-6) { sum, _ in sum + uniform() } }
}
