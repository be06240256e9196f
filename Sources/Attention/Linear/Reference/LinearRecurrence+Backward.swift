extension LinearRecurrence {
  struct Gradients: Sendable {
    /// [t, k]
    var queries: [Double]
    /// [t, k]
    var keys: [Double]
    /// [t, v]
    var values: [Double]
    /// [t, k]
    var decay: [Double]
    /// In the order of ``LinearUpdate/tensors``: [k], [t] or [t, k].
    var update: [[Double]]
    /// [k, v]
    var initialState: [Double]
  }

  /// The recurrence backwards. With dS the gradient of the state S after a token, and q multiplied by the
  /// scale:
  ///
  ///     dS += q doᵀ ,  dq = scale · S do
  ///     additive           dS' = dS ,  dk = dS v ,  dv = dSᵀ k
  ///     generalised delta  with e = v − S'ᵀ y:  de = dSᵀ k ,  dk = dS e ,  dv = de ,
  ///                        dy = −S' de ,  dS' = dS − y deᵀ
  ///     low rank           with w = S₋ᵀ a:  dw = dSᵀ b ,  db = dS w ,  da = S₋ dw ,
  ///                        dS' = dS ,  dS₋ = a dwᵀ
  ///     dg = e^g ⊙ Σ over v of S₋ ⊙ dS' ,  dS₋ += e^g ⊙ dS'
  func backward(_ outputGradient: [Double], _ finalStateGradient: [Double]) -> Gradients {
    var states = [StateMatrix(initialState, columns: valueDimension)]
    for t in 0..<length { states.append(next(states[t], t)) }
    var tokens: [TokenGradients] = []
    var gradient = StateMatrix(finalStateGradient, columns: valueDimension)
    for t in (0..<length).reversed() {
      let incoming = outputGradient[t * valueDimension..<(t + 1) * valueDimension]
      tokens.append(differentiate(t, states[t], states[t + 1], Array(incoming), &gradient))
    }
    tokens.reverse()
    return Gradients(
      queries: tokens.flatMap { times($0.query, scale) }, keys: tokens.flatMap(\.key),
      values: tokens.flatMap(\.value), decay: tokens.flatMap(\.decay),
      update: updateGradients(tokens), initialState: gradient.elements)
  }

  /// The gradients of a token's inputs, with the query after scaling.
  private struct TokenGradients {
    var query, key, value: [Double]
    var decay: [Double] = []
    /// The token's parts of the gradients of the update's tensors.
    var update: [[Double]] = []
  }

  private func updateGradients(_ tokens: [TokenGradients]) -> [[Double]] {
    switch update {
    case .additive: []
    case .additiveBefore:
      // All tokens share the bonus.
      [tokens.reduce([Double](repeating: 0, count: keyDimension)) { plus($0, $1.update[0]) }]
    case .delta, .generalizedDelta: [tokens.flatMap { $0.update[0] }]
    case .lowRank: [tokens.flatMap { $0.update[0] }, tokens.flatMap { $0.update[1] }]
    }
  }

  /// The gradients of token t, given the states before and after it; `gradient` is that of the state after it
  /// and becomes that of the state before it.
  private func differentiate(
    _ t: Int, _ before: StateMatrix, _ after: StateMatrix, _ incoming: [Double],
    _ gradient: inout StateMatrix
  ) -> TokenGradients {
    let token = token(t)
    var decayed = before
    decayed.scaleRows(token.keep)
    // The gradient of the state before the token that bypasses its decay.
    var direct = StateMatrix(
      [Double](repeating: 0, count: before.elements.count), columns: valueDimension)
    var result: TokenGradients
    switch update {
    case .additiveBefore(let bonus):
      direct.add(token.query, incoming)
      result = write(token, gradient)
      let along = dot(token.value, incoming)
      let pair = zip(token.query, token.key).map { $0 * $1 }
      result.query = plus(
        before.times(incoming), zip(bonus, token.key).map { $0 * $1 * along })
      result.key = plus(result.key, zip(bonus, token.query).map { $0 * $1 * along })
      result.value = plus(result.value, times(incoming, dot(bonus, pair)))
      result.update = [times(pair, along)]
    case .additive:
      gradient.add(token.query, incoming)
      result = write(token, gradient)
      result.query = after.times(incoming)
    case .delta(let beta):
      gradient.add(token.query, incoming)
      // The generalised delta rule with y = βk, and βv in place of v.
      var scaled = token
      scaled.value = times(token.value, beta[t])
      result = erase(times(token.key, beta[t]), scaled, decayed, &gradient)
      let toBeta = dot(token.key, result.update[0]) + dot(token.value, result.value)
      result.key = plus(result.key, times(result.update[0], beta[t]))
      result.value = times(result.value, beta[t])
      result.update = [[toBeta]]
      result.query = after.times(incoming)
    case .generalizedDelta(let readKeys):
      gradient.add(token.query, incoming)
      result = erase(row(readKeys, t), token, decayed, &gradient)
      result.query = after.times(incoming)
    case .lowRank(let a, let b):
      gradient.add(token.query, incoming)
      result = write(token, gradient)
      result.query = after.times(incoming)
      let readGradient = gradient.read(row(b, t))
      result.update = [
        before.times(readGradient), gradient.times(before.read(row(a, t))),
      ]
      direct.add(row(a, t), readGradient)
    }
    result.decay = decayed.rowDots(gradient)
    gradient.scaleRows(token.keep)
    gradient.add(direct)
    return result
  }

  /// The gradients of k vᵀ.
  private func write(_ token: Token, _ gradient: StateMatrix) -> TokenGradients {
    TokenGradients(
      query: [], key: gradient.times(token.value), value: gradient.read(token.key))
  }

  /// The gradients of k (v − S'ᵀ y)ᵀ, that of y in `update`; `gradient` becomes that of S'.
  private func erase(
    _ readKey: [Double], _ token: Token, _ decayed: StateMatrix, _ gradient: inout StateMatrix
  ) -> TokenGradients {
    let written = plus(token.value, times(decayed.read(readKey), -1))
    let error = gradient.read(token.key)
    let result = TokenGradients(
      query: [], key: gradient.times(written), value: error,
      update: [times(decayed.times(error), -1)])
    gradient.add(times(readKey, -1), error)
    return result
  }

  private func plus(_ x: [Double], _ y: [Double]) -> [Double] { zip(x, y).map { $0 + $1 } }

  private func times(_ x: [Double], _ factor: Double) -> [Double] { x.map { factor * $0 } }

  private func dot(_ x: [Double], _ y: [Double]) -> Double {
    zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }
  }
}
