import AttentionTensors

/// A feed-forward layer of several experts, of which a router chooses a few for each token.
///
///     y = Σ over the chosen experts of weight · expert(x)  + shared(x) · σ(W_s x)
///
/// Tokens are gathered by expert, each expert computes all of its tokens as one product, and the results of a
/// token are added in the order of their weights.
///
/// Parameters: the router, `experts.N.…` for each expert, and those of the shared expert.
///
/// Reference: Shazeer et al., *Outrageously large neural networks: the sparsely-gated mixture-of-experts layer*
/// (2017).
public struct MixtureOfExperts: Sendable {
  /// How scores become weights of the chosen experts.
  public enum Routing: Hashable, Sendable {
    /// The softmax over all experts, times `scale`; `sumsToOne` first divides the weights of the chosen ones by their
    /// sum.
    case softmax(sumsToOne: Bool, scale: Double = 1)
    /// The softmax over the chosen experts.
    case softmaxOfChosen
    /// σ of the scores, times `scale`, after division by the sum of the chosen ones if it `sumsToOne`. Experts
    /// are chosen by σ + `e_score_correction_bias` of the router.
    case sigmoid(sumsToOne: Bool, scale: Double)
  }

  /// Experts in groups of neighbours, of which some are chosen first: a token's experts are all in these.
  ///
  /// A group counts as the largest score of its experts, or, of σ with a correction, as the sum of the two largest.
  public struct Groups: Hashable, Sendable {
    public var count: Int
    /// How many groups a token chooses from.
    public var chosen: Int

    public init(count: Int, chosen: Int) {
      self.count = count
      self.chosen = chosen
    }
  }

  public struct Options: Hashable, Sendable {
    public var experts: Int
    /// How many experts compute a token.
    public var chosen: Int
    /// Nil if a token may choose any experts.
    public var groups: Groups?
    /// The inner width, activation and names of each expert.
    public var expert: FeedForward.Options
    public var routing = Routing.softmax(sumsToOne: true)
    /// The name of the router.
    public var router = "gate"
    public var hasRouterBias = false
    public var layout = Layout.separate
    /// An expert that computes every token: its name and options.
    public var shared: Shared?

    public init(experts: Int, chosen: Int, expert: FeedForward.Options) {
      self.experts = experts
      self.chosen = chosen
      self.expert = expert
    }
  }

  /// Which tensors hold the weights of the experts.
  public enum Layout: Hashable, Sendable {
    /// Those of a feed-forward layer for each, `experts.N.…`.
    case separate
    /// One for all, `input_linear` [experts, 2 · inner, width] with the rows of the gate first, and
    /// `output_linear` [experts, width, inner], as in Granite.
    case stacked
    /// One for all with biases and clamped activations, as in GPT-OSS (see the parameters of the source); only
    /// the inner width of an expert's options then counts.
    case clamped(Clamp)
  }

  /// How activations of an expert are clamped.
  public struct Clamp: Hashable, Sendable {
    /// The largest gate, and the largest size of what it multiplies.
    public var limit: Double
    /// α of g σ(α g).
    public var slope: Double

    public init(limit: Double, slope: Double) {
      self.limit = limit
      self.slope = slope
    }
  }

  public struct Shared: Hashable, Sendable {
    public var name: String
    public var options: FeedForward.Options
    /// The name of the projection whose sigmoid multiplies its output; nil for none.
    public var gate: String?

    public init(name: String, options: FeedForward.Options, gate: String? = nil) {
      self.name = name
      self.options = options
      self.gate = gate
    }
  }

  private enum Experts: Sendable {
    case separate([FeedForward])
    case stacked(StackedExperts)
    case clamped(ClampedExperts)

    func callAsFunction(_ expert: Int, _ rows: Tensor) throws -> Tensor {
      switch self {
      case .separate(let experts): try experts[expert](rows)
      case .stacked(let experts): try experts(expert, rows)
      case .clamped(let experts): try experts(expert, rows)
      }
    }
  }

  private let options: Options
  private let router: Linear
  /// [experts]
  private let correction: Tensor?
  private let experts: Experts
  private let shared: FeedForward?
  private let sharedGate: Linear?

  /// - Parameters:
  ///   - width: the extent of the last axis of input and output.
  ///   - options: the experts, and how they are chosen.
  ///   - outputScale: the standard deviation of an output for inner activations of variance 1.
  ///   - scope: where the parameters come from.
  /// - Throws: ``LayerError``.
  public init(
    width: Int, options: Options, outputScale: Double = 1, scope: ParameterScope
  ) throws {
    try LayerError.require("experts", isExtent: options.experts)
    guard (1...options.experts).contains(options.chosen) else {
      throw LayerError.invalidArgument(
        "experts per token", was: "\(options.chosen)",
        mustBe: "in 1...\(options.experts), the number of experts")
    }
    try options.validateGroups()
    self.options = options
    let routerScope = scope[options.router]
    router = try Linear(
      inputs: width, outputs: options.experts, hasBias: options.hasRouterBias, scope: routerScope)
    if case .sigmoid = options.routing {
      correction = try routerScope.parameter("e_score_correction_bias", [options.experts], .zeros)
    } else {
      correction = nil
    }
    switch options.layout {
    case .separate:
      experts = .separate(
        try (0..<options.experts).map {
          try FeedForward(
            width: width, options: options.expert, outputScale: outputScale,
            scope: scope["experts"]["\($0)"])
        })
    case .stacked:
      experts = .stacked(
        try StackedExperts(
          width: width, experts: options.experts, options: options.expert,
          outputScale: outputScale, scope: scope))
    case .clamped(let clamp):
      experts = .clamped(
        try ClampedExperts(
          width: width, experts: options.experts, inner: options.expert.inner, clamp: clamp,
          outputScale: outputScale, scope: scope["experts"]))
    }
    shared = try options.shared.map {
      try FeedForward(
        width: width, options: $0.options, outputScale: outputScale, scope: scope[$0.name])
    }
    sharedGate = try options.shared?.gate.map {
      try Linear(inputs: width, outputs: 1, scope: scope[$0])
    }
  }

  /// - Parameter x: `[..., width]`
  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    let width = x.shape[x.rank - 1]
    let rows = try x.reshaped([x.elementCount / max(1, width), width])
    var result = try routed(rows)
    if let shared {
      var output = try shared(rows)
      if let sharedGate { output = try output * sharedGate(rows).sigmoid() }
      result = try result + output
    }
    return try result.reshaped(x.shape)
  }

  /// The experts' part, [tokens, width].
  private func routed(_ rows: Tensor) throws -> Tensor {
    let (tokens, width, chosen) = (rows.shape[0], rows.shape[1], options.chosen)
    guard tokens > 0 else { return rows }
    let choice = try choose(rows)
    // The places [token · chosen + rank] in the order of their experts.
    let numbers = try choice.indices.elements(as: Int32.self)
    var places: [[Int32]] = Array(repeating: [], count: options.experts)
    for (place, expert) in numbers.enumerated() { places[Int(expert)].append(Int32(place)) }
    var outputs: [Tensor] = []
    for (expert, places) in places.enumerated() where !places.isEmpty {
      let own = try rows.gatheringRows(Tensor(places.map { $0 / Int32(chosen) }))
      outputs.append(try experts(expert, own))
    }
    var positions = [Int32](repeating: 0, count: numbers.count)
    for (position, place) in places.joined().enumerated() {
      positions[Int(place)] = Int32(position)
    }
    let weights = try choice.weights.cast(to: rows.dtype).moved(to: rows.device)
    return try Tensor.concatenated(outputs, 0)
      .gatheringRows(Tensor(positions, [tokens, chosen]))
      .reshaped([tokens, chosen, width])
      .weightedSum(weights.unsqueezed(-1))
  }

  /// The experts of each token, int32 [tokens, chosen] in descending order, and their weights.
  private func choose(_ rows: Tensor) throws -> (indices: Tensor, weights: Tensor) {
    let scores = try router(rows).cast(to: .float32).moved(to: .cpu)
    switch options.routing {
    case .softmax(let sumsToOne, let scale):
      let weights = try scores.softmax()
      let indices = try inChosenGroups(weights, countingLargest: 1).topK(options.chosen).indices
      let chosen = try weights.gathering(indices)
      let weighted = sumsToOne ? try chosen.summingToOne() : chosen
      return (indices, scale == 1 ? weighted : try weighted * scale)
    case .softmaxOfChosen:
      let top = try scores.topK(options.chosen)
      return (top.indices, try top.values.softmax())
    case .sigmoid(let sumsToOne, let scale):
      let weights = try scores.sigmoid()
      let bias = try (correction ?? .zeros([options.experts])).cast(to: .float32).moved(to: .cpu)
      let corrected = try weights.detached() + bias.detached()
      let indices = try inChosenGroups(corrected, countingLargest: 2).topK(options.chosen).indices
      let chosen = try weights.gathering(indices)
      return (indices, try (sumsToOne ? chosen.summingToOne() : chosen) * scale)
    }
  }
}

extension MixtureOfExperts {
  /// The scores with −∞ for experts of groups that are not chosen, [tokens, experts].
  ///
  /// - Parameter largest: how many of the largest scores of a group make up its own.
  private func inChosenGroups(_ scores: Tensor, countingLargest largest: Int) throws -> Tensor {
    guard let groups = options.groups else { return scores }
    let (tokens, size) = (scores.shape[0], options.experts / groups.count)
    let sums = try scores.detached().reshaped([tokens, groups.count, size])
      .topK(min(largest, size)).values.sum([2])
    let chosen = try sums.topK(groups.chosen).indices.elements(as: Int32.self)
    var isOut = [Float](repeating: -.infinity, count: tokens * groups.count)
    for (place, group) in chosen.enumerated() {
      isOut[place / groups.chosen * groups.count + Int(group)] = 0
    }
    return try
      (scores.detached().reshaped([tokens, groups.count, size])
      + Tensor(isOut, [tokens, groups.count, 1])).reshaped(scores.shape)
  }
}

extension MixtureOfExperts.Options {
  /// Throws ``LayerError/invalidArgument(_:was:mustBe:)`` if the groups do not divide the experts, or have too few.
  fileprivate func validateGroups() throws {
    guard let groups else { return }
    guard groups.count >= 1, experts % groups.count == 0 else {
      throw LayerError.invalidArgument(
        "groups of experts", was: "\(groups.count)",
        mustBe: "a divisor of the number of experts, \(experts)")
    }
    guard (1...groups.count).contains(groups.chosen),
      groups.chosen * (experts / groups.count) >= chosen
    else {
      throw LayerError.invalidArgument(
        "groups per token", was: "\(groups.chosen)",
        mustBe: "at most \(groups.count), with at least \(chosen) experts, those of a token")
    }
  }
}

extension Tensor {
  /// Rows divided by their sums.
  fileprivate func summingToOne() throws -> Tensor { try self / sum([-1], keepsAxes: true) }

  /// Σ over axis 1 of these times `weights`.
  fileprivate func weightedSum(_ weights: Tensor) throws -> Tensor { try (self * weights).sum([1]) }

  /// The elements of each row [rows, n] at `indices`, int32 [rows, k].
  fileprivate func gathering(_ indices: Tensor) throws -> Tensor {
    let n = Int32(shape[1])
    let firsts = try Tensor((0..<Int32(shape[0])).map { $0 * n }, [shape[0], 1])
    return try reshaped([elementCount, 1]).gatheringRows(indices + firsts).reshaped(indices.shape)
  }
}
