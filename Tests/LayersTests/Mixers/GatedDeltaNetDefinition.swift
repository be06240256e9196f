import AttentionCLibrary

@testable import AttentionLayers

extension RecurrentCase {
  static let gatedDeltaNets: [RecurrentCase] = {
    var plain = GatedDeltaNet.Options(heads: 2)
    plain.normEpsilon = RecurrentCase.normEpsilon
    plain.allowsNegativeEigenvalues = true
    plain.convolution = ConvolutionOptions(width: nil)
    plain.gate = nil
    var grouped = GatedDeltaNet.Options(heads: 2)
    grouped.normEpsilon = RecurrentCase.normEpsilon
    grouped.valueHeads = 4
    grouped.keyDimension = 5
    grouped.valueDimension = 2
    grouped.convolution = ConvolutionOptions(width: 3, hasBias: true)
    grouped.gate = .sigmoid
    var next = grouped
    next.layout = .qwen3Next
    next.convolution.hasBias = false
    next.gate = .swish
    var later = next
    later.layout = .qwen35
    return [("plain", plain), ("grouped", grouped), ("qwen3_next", next), ("qwen3_5", later)].map {
      name, options in
      RecurrentCase("gated delta net, \(name)", GatedDeltaNet.self, options) {
        gatedDeltaNet($0, $1, options)
      }
    }
  }()

  private static func gatedDeltaNet(
    _ p: NaiveParameters, _ xs: [[Double]], _ options: GatedDeltaNet.Options
  ) -> [[Double]] {
    let heads = options.heads
    let valueHeads = options.valueHeads ?? heads
    let (k, v) = (options.keyDimension ?? hidden / heads, options.valueDimension ?? hidden / heads)
    let group = valueHeads / heads
    var (q, keys, values) = ([[Double]](), [[Double]](), [[Double]]())
    var (steps, beta, gate) = ([[Double]](), [[Double]](), [[Double]]?.none)
    var (norm, out) = ("norm", "out_proj")
    func joined(_ rows: [[Double]]) {
      for row in p.convolved("conv1d", rows) {
        let parts = row.split(heads * k, heads * k, valueHeads * v)
        q.append(parts[0])
        keys.append(parts[1])
        values.append(parts[2])
      }
    }
    switch options.layout {
    case .fla:
      q = p.convolved("q_conv1d", p.linear("q_proj", xs))
      keys = p.convolved("k_conv1d", p.linear("k_proj", xs))
      values = p.convolved("v_conv1d", p.linear("v_proj", xs))
      steps = p.linear("a_proj", xs)
      beta = p.linear("b_proj", xs)
      gate = options.gate == nil ? nil : p.linear("g_proj", xs)
      (norm, out) = ("o_norm", "o_proj")
    case .qwen35:
      joined(p.linear("in_proj_qkv", xs))
      steps = p.linear("in_proj_a", xs)
      beta = p.linear("in_proj_b", xs)
      gate = p.linear("in_proj_z", xs)
    case .qwen3Next:
      let rows = p.linear("in_proj_qkvz", xs).map { row in
        row.parts(heads).map { $0.split(k, k, group * v, group * v) }
      }
      joined(rows.map { heads in (0..<3).flatMap { part in heads.flatMap { $0[part] } } })
      gate = rows.map { heads in heads.flatMap { $0[3] } }
      let gates = p.linear("in_proj_ba", xs).map { $0.parts(heads).map { $0.split(group, group) } }
      beta = gates.map { heads in heads.flatMap { $0[0] } }
      steps = gates.map { heads in heads.flatMap { $0[1] } }
    }
    var states = Array(repeating: NaiveState(k, v), count: valueHeads)
    return xs.indices.map { t in
      let output = (0..<valueHeads).flatMap { head in
        let query = unit(q[t].parts(heads)[head / group])
        let key = unit(keys[t].parts(heads)[head / group])
        let value = values[t].parts(valueHeads)[head]
        states[head].decay(
          exp(-exp(p["A_log"][head]) * softplus(steps[t][head] + p["dt_bias"][head])))
        let rate = sigmoid(beta[t][head]) * (options.allowsNegativeEigenvalues ? 2 : 1)
        let held = states[head].read(key)
        states[head].write(key, value.indices.map { rate * (value[$0] - held[$0]) })
        let read = states[head].read(query).map { $0 / Double(k).squareRoot() }
        let normal = p.rmsNorm(norm, read, epsilon: options.normEpsilon)
        guard let logits = gate?[t].parts(valueHeads)[head] else { return normal }
        return normal * logits.map(options.gate == .sigmoid ? sigmoid : silu)
      }
      return p.linear(out, output)
    }
  }
}
