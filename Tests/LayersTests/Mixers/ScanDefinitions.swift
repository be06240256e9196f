import AttentionCLibrary

@testable import AttentionLayers

extension RecurrentCase {
  /// Mixers whose channels have states of their own, besides Mamba.
  static let scans: [RecurrentCase] = hgrns + griffins + minimal + convolutions

  /// h_t = decay ⊙ h_{t−1} + input, token by token.
  private static func scan(_ decays: [[Double]], _ inputs: [[Double]]) -> [[Double]] {
    var state = inputs.first.map { $0.map { _ in 0.0 } } ?? []
    return zip(decays, inputs).map { decay, input in
      state = state.indices.map { decay[$0] * state[$0] + input[$0] }
      return state
    }
  }

  private static let hgrns: [RecurrentCase] = {
    var plain = HGRN.Options()
    plain.normEpsilon = normEpsilon
    var bounded = plain
    bounded.expansion = 0.5
    bounded.convolution = ConvolutionOptions(width: 3, hasBias: true)
    bounded.lowerBound = 0.4
    return [("plain", plain), ("bounded", bounded)].map { name, options in
      RecurrentCase("hgrn, \(name)", HGRN.self, options) { p, xs in
        func rows(_ name: String) -> [[Double]] {
          p.convolved(name + "_conv1d", p.linear(name + "_proj", xs), appliesSiLU: false)
        }
        let bound = options.lowerBound ?? 0
        let gates = rows("f").map { $0.map { bound + (1 - bound) * sigmoid($0) } }
        let inputs = zip(rows("i"), gates).map { input, gate in
          input.map(silu) * gate.map { 1 - $0 }
        }
        return zip(xs, scan(gates, inputs)).map { x, state in
          naiveOutput(
            p, [state], norm: "g_norm", epsilon: normEpsilon, gate: p.linear("g_proj", x))
        }
      }
    }
  }()

  private static let griffins: [RecurrentCase] = {
    let plain = GriffinRecurrence.Options(heads: 2)
    var wide = GriffinRecurrence.Options(heads: 3)
    wide.width = 6
    wide.convolution = ConvolutionOptions(width: nil)
    return [("plain", plain), ("without convolution", wide)].map { name, options in
      RecurrentCase("rg-lru, \(name)", GriffinRecurrence.self, options) { p, xs in
        let width = options.width ?? hidden
        let size = width / options.heads
        let us = p.convolved("conv_1d", p.linear("linear_x", xs), appliesSiLU: false)
        func gate(_ name: String, _ u: [Double]) -> [Double] {
          let weight = p["rg_lru.\(name)_weight"]
          return (0..<width).map { channel in
            let (block, column) = (channel / size, channel % size)
            let sum = (0..<size).reduce(p["rg_lru.\(name)_bias"][channel]) {
              $0 + u[block * size + $1] * weight[(block * size + $1) * size + column]
            }
            return sigmoid(sum)
          }
        }
        let decays = us.map { u in
          zip(gate("recurrent_gate", u), p["rg_lru.recurrent_param"]).map {
            exp(-8 * $0 * softplus($1))
          }
        }
        let inputs = us.indices.map { t in
          let factors = decays[t].map { t == 0 ? 1 : (1 - $0 * $0).squareRoot() }
          return factors * gate("input_gate", us[t]) * us[t]
        }
        func gelu(_ x: Double) -> Double {
          x / 2 * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
        }
        return zip(xs, scan(decays, inputs)).map { x, state in
          p.linear("linear_out", state * p.linear("linear_y", x).map(gelu))
        }
      }
    }
  }()

  private static let minimal: [RecurrentCase] = {
    var options = MinimalRecurrenceOptions()
    options.expansion = 1.5
    var bare = options
    bare.hasBias = false
    return [
      RecurrentCase("min gru", MinGRU.self, options) { p, xs in
        let gates = p.linear("linear_z", xs).map { $0.map(sigmoid) }
        let inputs = zip(gates, p.linear("linear_h", xs)).map { $0 * $1 }
        return p.linear("linear_out", scan(gates.map { $0.map { 1 - $0 } }, inputs))
      },
      RecurrentCase("min lstm", MinLSTM.self, bare) { p, xs in
        let forget = p.linear("linear_f", xs).map { $0.map(sigmoid) }
        let input = p.linear("linear_i", xs).map { $0.map(sigmoid) }
        let decays = zip(forget, input).map { zip($0, $1).map { $0 / ($0 + $1) } }
        let shares = decays.map { $0.map { 1 - $0 } }
        let inputs = zip(shares, p.linear("linear_h", xs)).map { $0 * $1 }
        return p.linear("linear_out", scan(decays, inputs))
      },
    ]
  }()

  private static let convolutions: [RecurrentCase] = {
    let plain = GatedConvolution.Options()
    var biased = plain
    biased.width = 4
    biased.hasBias = true
    return [("plain", plain), ("biased", biased)].map { name, options in
      RecurrentCase("gated convolution, \(name)", GatedConvolution.self, options) { p, xs in
        let parts = p.linear("in_proj", xs).map { $0.parts(3) }
        let convolved = p.convolved("conv", parts.map { $0[0] * $0[2] }, appliesSiLU: false)
        return zip(parts, convolved).map { p.linear("out_proj", $0[1] * $1) }
      }
    }
  }()
}
