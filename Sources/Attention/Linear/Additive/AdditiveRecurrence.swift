import Glibc

/// The additive recurrence of one sequence and head as it is defined, token by token in float64.
///
/// Matrices are row-major arrays; row t belongs to token t.
struct AdditiveRecurrence {
  let length: Int
  let keyDimension: Int
  let valueDimension: Int
  let scale: Double
  /// [t, k]
  var queries: [Double]
  /// [t, k]
  var keys: [Double]
  /// [t, v]
  var values: [Double]
  /// [t, k]: the logarithm of the decay, repeated where channels share it.
  var decay: [Double]
  /// [k, v]
  var initialState: [Double]

  /// What the recurrence computes, or the gradients of what it reads.
  struct Result: Sendable {
    var output: [Double]
    var finalState: [Double]
  }

  struct Gradients: Sendable {
    var queries: [Double]
    var keys: [Double]
    var values: [Double]
    var decay: [Double]
    var initialState: [Double]
  }

  /// S_t = e^g_t ⊙ S_{t−1} + k_t v_tᵀ
  private func next(_ state: [Double], _ t: Int) -> [Double] {
    var next = state
    for i in 0..<keyDimension {
      let keep = exp(decay[t * keyDimension + i])
      let key = keys[t * keyDimension + i]
      for j in 0..<valueDimension {
        let place = i * valueDimension + j
        next[place] = keep * state[place] + key * values[t * valueDimension + j]
      }
    }
    return next
  }

  /// o_t = scale · S_tᵀ q_t
  func forward() -> Result {
    var state = initialState
    var output = [Double](repeating: 0, count: length * valueDimension)
    for t in 0..<length {
      state = next(state, t)
      for i in 0..<keyDimension {
        let query = scale * queries[t * keyDimension + i]
        for j in 0..<valueDimension {
          output[t * valueDimension + j] += query * state[i * valueDimension + j]
        }
      }
    }
    return Result(output: output, finalState: state)
  }

  /// The recurrence run backwards. With dS_t everything that S_t flows into:
  ///
  ///     dS_t = scale · q_t do_tᵀ + e^g_{t+1} ⊙ dS_{t+1}
  ///     dq_t = scale · S_t do_t ,  dk_t = dS_t v_t ,  dv_t = dS_tᵀ k_t
  ///     dg_t = e^g_t ⊙ Σ over v of S_{t−1} ⊙ dS_t
  func backward(_ outputGradient: [Double], _ finalStateGradient: [Double]) -> Gradients {
    var states = [initialState]
    for t in 0..<length { states.append(next(states[t], t)) }
    let (k, v) = (keyDimension, valueDimension)
    var result = Gradients(
      queries: [Double](repeating: 0, count: length * k),
      keys: [Double](repeating: 0, count: length * k),
      values: [Double](repeating: 0, count: length * v),
      decay: [Double](repeating: 0, count: length * k), initialState: finalStateGradient)
    for t in (0..<length).reversed() {
      let (before, after) = (states[t], states[t + 1])
      for i in 0..<k {
        let (query, key) = (queries[t * k + i], keys[t * k + i])
        let keep = exp(decay[t * k + i])
        var (toQuery, toKey, toDecay) = (0.0, 0.0, 0.0)
        for j in 0..<v {
          let place = i * v + j
          let incoming = outputGradient[t * v + j]
          let gradient = result.initialState[place] + scale * query * incoming
          toQuery += scale * after[place] * incoming
          toKey += gradient * values[t * v + j]
          toDecay += keep * before[place] * gradient
          result.values[t * v + j] += gradient * key
          result.initialState[place] = keep * gradient
        }
        result.queries[t * k + i] = toQuery
        result.keys[t * k + i] = toKey
        result.decay[t * k + i] = toDecay
      }
    }
    return result
  }
}
