import AttentionTensors

/// How a token changes the decayed state S' = D S₋ of linear attention, S₋ being the state before
/// the token and D its decay.
///
/// The tensors are of any floating-point dtype and have gradients.
public enum LinearUpdate: Sendable {
  /// S = S' + k vᵀ.
  case additive
  /// S as additive, but the query reads the state before it, and the token's own pair with a bonus
  /// u for each channel: o = scale · (S₋ + diag(u) k vᵀ)ᵀ q. `bonus` is [hv, k].
  ///
  /// Reference: Peng et al., [*Eagle and Finch*](https://arxiv.org/abs/2404.05892) (2024).
  case additiveBefore(bonus: Tensor)
  /// The delta rule: S = S' + β k (v − S'ᵀ k)ᵀ, which replaces a share β of what the state holds
  /// for k. `beta` is [b, t, hv], from 0 to 2.
  ///
  /// Reference: Yang, Wang, Zhang, Shen, Kim,
  /// [*Parallelizing linear transformers with the delta rule*](https://arxiv.org/abs/2406.06484)
  /// (2024).
  case delta(beta: Tensor)
  /// S = S' + k (v − S'ᵀ y)ᵀ: what is erased is read by y, `readKeys` [b, t, hv, k].
  case generalizedDelta(readKeys: Tensor)
  /// A transition of diagonal plus low rank: S = S' + b (S₋ᵀ a)ᵀ + k vᵀ; a reads the state before
  /// its decay. `a` and `b` are [b, t, hv, k].
  ///
  /// Reference: Peng et al., [*RWKV-7 "Goose"*](https://arxiv.org/abs/2503.14456) (2025).
  case lowRank(a: Tensor, b: Tensor)

  /// The tensors, in the order in which ``LinearGradients/update`` lists their gradients.
  public var tensors: [Tensor] {
    switch self {
    case .additive: []
    case .additiveBefore(let bonus): [bonus]
    case .delta(let beta): [beta]
    case .generalizedDelta(let readKeys): [readKeys]
    case .lowRank(let a, let b): [a, b]
    }
  }

  /// What callers call the tensors.
  var names: [String] {
    switch self {
    case .additive: []
    case .additiveBefore: ["bonus"]
    case .delta: ["beta"]
    case .generalizedDelta: ["readKeys"]
    case .lowRank: ["a", "b"]
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
  /// The same update as kernels read it: its tensors checked, detached, with neighbouring elements
  /// in rows, float64 only beside float64 queries. β becomes [b, t, hv, 1].
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)``
  func readable(for problem: LinearProblem) throws -> LinearUpdate {
    let tokens = [problem.batch, problem.length, problem.valueHeads]
    let rows = Shape(tokens + [problem.keyDimension])
    func checked(_ tensor: Tensor, _ name: String, _ shape: Shape) throws -> Tensor {
      try LinearCall.check(tensor, name, "\(shape)") { $0.shape == shape }
      try LinearCall.check(dtypeOf: tensor, name, "a floating-point dtype", \.isFloatingPoint)
      let narrows = tensor.dtype == .float64 && problem.dtype != .float64
      let detached = tensor.detached()
      return try narrows ? detached.cast(to: .float32) : detached
    }
    switch self {
    case .additive: return self
    case .additiveBefore(let bonus):
      let bonus = try checked(bonus, "bonus", [problem.valueHeads, problem.keyDimension])
      return .additiveBefore(
        bonus: try bonus.cast(to: problem.dtype == .float64 ? .float64 : .float32).contiguous())
    case .delta(let beta):
      return .delta(
        beta: try checked(beta, "beta", Shape(tokens)).unsqueezed(-1).withDenseRows())
    case .generalizedDelta(let readKeys):
      return .generalizedDelta(
        readKeys: try checked(readKeys, "readKeys", rows).withDenseRows())
    case .lowRank(let a, let b):
      return .lowRank(
        a: try checked(a, "a", rows).withDenseRows(), b: try checked(b, "b", rows).withDenseRows())
    }
  }
}
