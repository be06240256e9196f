import AttentionTensors

/// What a model computes in while it is trained.
///
/// Parameters, moments and checkpoints are float32 in any case. With `bfloat16` each step rounds the
/// parameters, so that the model's products, and what is kept of them for the gradients, take half the
/// memory; the optimizer adds to the parameters as they were before rounding, where small steps are
/// not lost.
///
/// Reference: Micikevicius et al., *Mixed precision training* (2018).
public enum Precision: String, CaseIterable, Hashable, Sendable, Codable {
  case float32, bfloat16

  public var dtype: DType {
    switch self {
    case .float32: .float32
    case .bfloat16: .bfloat16
    }
  }
}
