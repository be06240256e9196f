import AttentionTensors

/// The error that a kernel may have: RMS(x − ref) / RMS(ref) and what cancels.
public enum Tolerance {
  /// The bound for outputs and gradients computed from inputs of `dtype`.
  ///
  /// Half precision is bounded by the rounding of its results, which gradients share; float32 by
  /// the sums, which are longer and cancel more in gradients.
  public static func bound(_ dtype: DType, isGradient: Bool) -> Double {
    switch dtype {
    case .bfloat16: 1e-2
    case .float16: 2e-3
    default: isGradient ? 1e-4 : 1e-5
    }
  }

  /// Where a bound cannot be met because rounding the operands alone breaks it, a kernel may have
  /// this multiple of the error of the plain unfused computation in the same dtype.
  public static let unfusedFactor = 2.0

  /// How much further than the root mean square one element may be off, relative to
  /// RMS(ref) + |ref|: more than rounding does to the unluckiest of a million, less than an element
  /// that is wrong.
  public static let elementFactor = 32.0

  /// What rounding leaves of terms that cancel, as a share of their size.
  ///
  /// A gradient may vanish because its terms cancel: the weight of a query that sees one key does
  /// not depend on its score, P (dO·v − dO·o) = 0. Rounding of the two products is left, which no
  /// bound relative to the result describes. In half precision o is rounded once; in float32 the
  /// products are sums in different orders.
  public static func termRounding(_ dtype: DType) -> Double {
    switch dtype {
    case .bfloat16: 2 * 0x1p-9
    case .float16: 2 * 0x1p-11
    default: 16 * 0x1p-24
    }
  }

  /// The bound of the unfused computation itself in half precision. It rounds every step and is the
  /// measure for others there; it must only not be about something else.
  public static let unfusedBound = 0.5
}
