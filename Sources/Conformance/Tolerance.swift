import AttentionTensors

/// The error allowed for a kernel: RMS(x − ref) / RMS(ref), plus the rounding of terms that cancel.
public enum Tolerance {
  /// The bound for outputs and gradients computed from inputs of `dtype`.
  ///
  /// In half precision the rounding of results limits outputs and gradients alike; in float32 the sums do, which
  /// are longer and cancel more in gradients.
  public static func bound(_ dtype: DType, isGradient: Bool) -> Double {
    switch dtype {
    case .bfloat16: 1e-2
    case .float16: 2e-3
    default: isGradient ? 1e-4 : 1e-5
    }
  }

  /// If rounding the operands alone exceeds a bound, a kernel may have this multiple of the error of the plain
  /// unfused computation in the same dtype.
  public static let unfusedFactor = 2.0

  /// How much larger than the root mean square the error of one element may be, relative to RMS(ref) + |ref|: more
  /// than rounding causes in the worst of a million elements, less than the error of a wrong element.
  public static let elementFactor = 32.0

  /// The rounding error of terms that cancel, as a fraction of their size.
  ///
  /// A gradient may vanish because its terms cancel: the weight of a query that attends to one key does not depend
  /// on its score, P (dO·v − dO·o) = 0. The rounding of the two products remains, which no bound relative to the
  /// result describes. In half precision o is rounded once; in float32 the products are sums in different orders.
  public static func termRounding(_ dtype: DType) -> Double {
    switch dtype {
    case .bfloat16: 2 * 0x1p-9
    case .float16: 2 * 0x1p-11
    default: 16 * 0x1p-24
    }
  }

  /// The bound of the unfused computation itself in half precision. It rounds every step and is the measure for
  /// others; this only detects that it computes something else.
  public static let unfusedBound = 0.5
}
