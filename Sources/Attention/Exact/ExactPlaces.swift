import AttentionTensors

/// Memory of the caller that results are wanted in; nil for fresh memory.
///
/// Kernels write there what they compute in the place's shape, dtype and order; what they compute otherwise
/// is in fresh memory, and the caller copies it. Nothing else may be in that memory that is read meanwhile.
package struct ExactPlaces: Sendable {
  /// [b,t,h,v]
  package var output: Tensor?
  /// [b,h,t]
  package var logSumExp: Tensor?
  /// The gradients of [b,t,h,k], [b,s,hₖ,k] and [b,s,hₖ,v].
  package var queriesGradient: Tensor?
  package var keysGradient: Tensor?
  package var valuesGradient: Tensor?

  package init(
    output: Tensor? = nil, logSumExp: Tensor? = nil, queriesGradient: Tensor? = nil,
    keysGradient: Tensor? = nil, valuesGradient: Tensor? = nil
  ) {
    self.output = output
    self.logSumExp = logSumExp
    self.queriesGradient = queriesGradient
    self.keysGradient = keysGradient
    self.valuesGradient = valuesGradient
  }
}
