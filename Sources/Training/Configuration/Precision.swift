import AttentionTensors

/// The dtype that a model computes in during training.
///
/// Parameters, moments and checkpoints are always float32. With `bfloat16` each step rounds the parameters,
/// so that matrix products and the activations kept for the gradients take half the memory; the optimizer
/// updates the unrounded parameters, which small updates do not vanish in.
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
