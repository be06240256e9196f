import AttentionCLibrary

extension RWKV7 {
  /// The parameters before training, which differ by channel and layer so that heads read different spans of time.
  ///
  /// Reference: Peng et al., [*RWKV-7 "Goose"*](https://arxiv.org/abs/2503.14456) (2025), appendix on parameter
  /// initialisation.
  struct Initial {
    /// 0 for the first layer, 1 for the last.
    private let depth: Double
    /// 1 for the first layer, nearly 0 for the last.
    private let remaining: Double
    private let hidden: Int
    private let dimension: Int

    static let replacement = 1.02
    static let bonus = -0.04
    static let keyScale = 0.1

    init(hidden: Int, options: Options) {
      depth = Double(options.layer) / Double(max(1, options.layers - 1))
      remaining = 1 - Double(options.layer) / Double(options.layers)
      self.hidden = hidden
      dimension = hidden / options.heads
    }

    /// Of μ for r, w, k, v, a and g.
    let shiftExponents = [0.2, 0.9, 0.7, 0.7, 0.9, 0.2]

    /// μ = 1 − (channel / hidden)^(exponent · remaining)
    func shift(_ exponent: Double) -> Initializer {
      row { 1 - pow(Double($0) / Double(hidden), exponent * remaining) }
    }

    /// ξ
    var removal: Initializer { row { 0.71 - 0.1 * linear($0) } }

    /// The biases of the low-rank projections.
    var decay: Initializer {
      let exponent = 1 + pow(depth, 0.3)
      return row { -6 + 6 * pow(linear($0) + 0.5, exponent) + 0.5 + 2.5 * zigzag($0) }
    }
    var rate: Initializer { row { -0.19 + 0.3 * zigzag($0) + 0.4 * linear($0) } }
    var residual: Initializer { row { 0.73 - 0.4 * linear($0) } }

    private func row(_ element: (Int) -> Double) -> Initializer {
      .row((0..<hidden).map(element))
    }

    /// From −1/2 for the first channel to 1/2 for the last.
    private func linear(_ channel: Int) -> Double {
      Double(channel) / Double(max(1, hidden - 1)) - 0.5
    }

    /// u |u|, with u from −1 for the first channel of a head to 1 for its last.
    private func zigzag(_ channel: Int) -> Double {
      let middle = Double(dimension - 1) / 2
      guard middle > 0 else { return 0 }
      let u = (Double(channel % dimension) - middle) / middle
      return u * abs(u)
    }
  }
}
