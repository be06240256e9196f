import AttentionCLibrary

@testable import AttentionLayers

extension RecurrentCase {
  static let mambas: [RecurrentCase] = {
    var plain = Mamba2.Options(heads: 2)
    plain.normEpsilon = RecurrentCase.normEpsilon
    plain.stateDimension = 3
    var grouped = Mamba2.Options(heads: 4)
    grouped.normEpsilon = RecurrentCase.normEpsilon
    grouped.headDimension = 3
    grouped.groups = 2
    grouped.stateDimension = 2
    grouped.convolution = ConvolutionOptions(width: 2)
    grouped.hasBias = true
    grouped.hasOutputBias = true
    grouped.smallestStep = 0.4
    grouped.largestStep = 0.9
    grouped.norm = .normFirst
    grouped.inputMultiplier = 0.5
    grouped.multipliers = [1.5, 0.5, 2, 0.75, 1.25]
    var bare = plain
    bare.norm = .none
    bare.convolution.width = nil
    let second = [("plain", plain), ("grouped", grouped), ("without norm", bare)].map {
      name, options in
      RecurrentCase("mamba 2, \(name)", Mamba2.self, options) { mamba2($0, $1, options) }
    }
    var first = Mamba.Options()
    first.normEpsilon = RecurrentCase.normEpsilon
    first.stateDimension = 3
    var jamba = first
    jamba.selectionNorm = .learned
    jamba.hasBias = true
    jamba.stepRank = 2
    jamba.expansion = 1
    var falcon = first
    falcon.selectionNorm = .plain
    falcon.convolution = ConvolutionOptions(width: 3)
    return second
      + [("plain", first), ("jamba", jamba), ("falcon", falcon)].map { name, options in
        RecurrentCase("mamba, \(name)", Mamba.self, options) { mamba($0, $1, options) }
      }
  }()

  private static func mamba2(
    _ p: NaiveParameters, _ xs: [[Double]], _ options: Mamba2.Options
  ) -> [[Double]] {
    let (heads, groups, n) = (options.heads, options.groups, options.stateDimension)
    let d = options.headDimension ?? 2 * hidden / heads
    let inner = heads * d
    let m = options.multipliers
    var (gates, rows, steps) = ([[Double]](), [[Double]](), [[Double]]())
    for x in xs {
      let projected = p.linear("in_proj", x.map { $0 * options.inputMultiplier })
      let parts = projected.split(inner, inner, groups * n, groups * n, heads)
      gates.append(parts[0].map { $0 * m[0] })
      rows.append((1...3).flatMap { part in parts[part].map { $0 * m[part] } })
      steps.append(parts[4].map { $0 * m[4] })
    }
    rows = p.convolved("conv1d", rows)
    var states = Array(repeating: NaiveState(n, d), count: heads)
    return xs.indices.map { t in
      let parts = rows[t].split(inner, groups * n, groups * n)
      let mixed = (0..<heads).flatMap { head in
        let group = head / (heads / groups)
        let x = parts[0].parts(heads)[head]
        var step = max(softplus(steps[t][head] + p["dt_bias"][head]), options.smallestStep)
        if let largest = options.largestStep { step = min(step, largest) }
        states[head].decay(exp(-exp(p["A_log"][head]) * step))
        states[head].write(parts[1].parts(groups)[group], x.map { $0 * step })
        let read = states[head].read(parts[2].parts(groups)[group])
        return x.indices.map { read[$0] + p["D"][head] * x[$0] }
      }
      let gate = gates[t].map(silu)
      func normal(_ y: [Double]) -> [Double] {
        y.parts(groups).flatMap { p.rmsNorm("", $0, epsilon: options.normEpsilon) }
          * p["norm.weight"]
      }
      switch options.norm {
      case .gateFirst: return p.linear("out_proj", normal(mixed * gate))
      case .normFirst: return p.linear("out_proj", normal(mixed) * gate)
      case .none: return p.linear("out_proj", mixed * gate)
      }
    }
  }

  private static func mamba(
    _ p: NaiveParameters, _ xs: [[Double]], _ options: Mamba.Options
  ) -> [[Double]] {
    let width = Int(options.expansion) * hidden
    let rank = options.stepRank ?? 1
    let n = options.stateDimension
    let projected = p.linear("in_proj", xs).map { $0.split(width, width) }
    let rows = p.convolved("conv1d", projected.map { $0[0] })
    var states = Array(repeating: Array(repeating: 0.0, count: n), count: width)
    return xs.indices.map { t in
      var selected = p.linear("x_proj", rows[t]).split(rank, n, n)
      if options.selectionNorm != .none {
        let names = ["dt_layernorm", "b_layernorm", "c_layernorm"]
        selected = (0..<3).map {
          p.rmsNorm(names[$0], selected[$0], epsilon: options.normEpsilon)
        }
      }
      let steps = p.linear("dt_proj", selected[0]).map(softplus)
      let mixed = (0..<width).map { channel in
        for state in 0..<n {
          let rate = -exp(p["A_log"][channel * n + state])
          states[channel][state] =
            exp(rate * steps[channel]) * states[channel][state]
            + steps[channel] * rows[t][channel] * selected[1][state]
        }
        let read = dot(states[channel], selected[2]) + p["D"][channel] * rows[t][channel]
        return read * silu(projected[t][1][channel])
      }
      return p.linear("out_proj", mixed)
    }
  }
}
