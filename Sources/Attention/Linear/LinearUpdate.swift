import AttentionTensors

/// How a token changes the decayed state S' = D S₋ of linear attention, with S₋ the state before the
/// token and D its decay.
///
/// The tensors have any floating-point dtype, and gradients.
public enum LinearUpdate: Sendable {
  /// S = S' + k vᵀ.
  case additive
  /// Additive, but the query reads the state before the token, and the token's own pair with a bonus u
  /// per channel: o = scale · (S₋ + diag(u) k vᵀ)ᵀ q. `bonus` is [hv, k].
  ///
  /// Reference: Peng et al., [*Eagle and Finch*](https://arxiv.org/abs/2404.05892) (2024).
  case additiveBefore(bonus: Tensor)
  /// The delta rule: S = S' + β k (v − S'ᵀ k)ᵀ, which replaces a fraction β of what the state holds
  /// for k. `beta` is [b, t, hv], from 0 to 2.
  ///
  /// Reference: Yang, Wang, Zhang, Shen, Kim,
  /// [*Parallelizing linear transformers with the delta rule*](https://arxiv.org/abs/2406.06484)
  /// (2024).
  case delta(beta: Tensor)
  /// The generalised delta rule: S = S' + k (v − S'ᵀ y)ᵀ, where `readKeys` is y [b, t, hv, k].
  case generalizedDelta(readKeys: Tensor)
  /// A diagonal-plus-low-rank transition: S = S' + b (S₋ᵀ a)ᵀ + k vᵀ; a reads the state before its
  /// decay. `a` and `b` are [b, t, hv, k].
  ///
  /// Reference: Peng et al., [*RWKV-7 "Goose"*](https://arxiv.org/abs/2503.14456) (2025).
  case lowRank(a: Tensor, b: Tensor)

  /// The tensors, in the order of ``inputs``.
  public var tensors: [Tensor] {
    switch self {
    case .additive: []
    case .additiveBefore(let bonus): [bonus]
    case .delta(let beta): [beta]
    case .generalizedDelta(let readKeys): [readKeys]
    case .lowRank(let a, let b): [a, b]
    }
  }

  /// The inputs that the tensors are, in the same order.
  public var inputs: [LinearInput] {
    switch self {
    case .additive: []
    case .additiveBefore: [.bonus]
    case .delta: [.beta]
    case .generalizedDelta: [.readKeys]
    case .lowRank: [.lowRankA, .lowRankB]
    }
  }

  /// The update that the tensors of a call determine; additive if none is present.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if they ask for two, or give half of a low rank.
  init(_ inputs: OperatorTensors<LinearInput>) throws {
    let (a, b) = (inputs[.lowRankA], inputs[.lowRankB])
    guard (a == nil) == (b == nil) else {
      let (missing, given) = (a == nil ? LinearInput.lowRankA : .lowRankB, a == nil ? "b" : "a")
      throw AttentionError.invalidArgument(
        missing.rawValue, was: "absent", mustBe: "present, as low_rank_\(given)")
    }
    let given = [LinearInput.beta, .readKeys, .bonus, .lowRankA].filter { inputs[$0] != nil }
    guard given.count <= 1 else {
      throw AttentionError.invalidArgument(
        given[1].rawValue, was: "present together with \(given[0].rawValue)",
        mustBe: "absent: a call has one update")
    }
    if let beta = inputs[.beta] {
      self = .delta(beta: beta)
    } else if let readKeys = inputs[.readKeys] {
      self = .generalizedDelta(readKeys: readKeys)
    } else if let bonus = inputs[.bonus] {
      self = .additiveBefore(bonus: bonus)
    } else if let a, let b {
      self = .lowRank(a: a, b: b)
    } else {
      self = .additive
    }
  }

  /// The same update with every tensor replaced.
  public func mapTensors(_ body: (Tensor) throws -> Tensor) rethrows -> LinearUpdate {
    switch self {
    case .additive: .additive
    case .additiveBefore(let bonus): .additiveBefore(bonus: try body(bonus))
    case .delta(let beta): .delta(beta: try body(beta))
    case .generalizedDelta(let readKeys): .generalizedDelta(readKeys: try body(readKeys))
    case .lowRank(let a, let b): .lowRank(a: try body(a), b: try body(b))
    }
  }

  /// Which update it is, without its tensors.
  public var kind: LinearProblem.Update {
    switch self {
    case .additive: .additive
    case .additiveBefore: .additiveBefore
    case .delta: .delta
    case .generalizedDelta: .generalizedDelta
    case .lowRank: .lowRank
    }
  }
}

extension LinearUpdate {
  /// The update in the form that kernels read, from detached tensors: rows are contiguous, float64 is kept
  /// only with float64 queries, β becomes [b, t, hv, 1].
  func readable(for problem: LinearProblem) throws -> LinearUpdate {
    let isDouble = problem.dtype == .float64
    func narrowed(_ tensor: Tensor) throws -> Tensor {
      tensor.dtype == .float64 && !isDouble ? try tensor.cast(to: .float32) : tensor
    }
    switch self {
    case .additiveBefore(let bonus):
      return .additiveBefore(
        bonus: try bonus.cast(to: isDouble ? .float64 : .float32).contiguous())
    case .delta(let beta):
      return .delta(beta: try narrowed(beta).unsqueezed(-1).withDenseRows())
    case .additive, .generalizedDelta, .lowRank:
      return try mapTensors { try narrowed($0).withDenseRows() }
    }
  }
}
