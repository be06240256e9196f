import Tensors

extension Tensor {
  /// What `body` makes of this tensor in float32, in this tensor's dtype: how half precision runs
  /// through float32 loops.
  ///
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` for a dtype that layers do not have.
  func computedInFloat32(_ name: String, _ body: (Tensor) throws -> Tensor) throws -> Tensor {
    guard dtype == .float32 || dtype.isHalfPrecision else {
      throw LayerError.invalidArgument(
        name, was: dtype.rawValue, mustBe: "a floating-point tensor")
    }
    return try body(cast(to: .float32)).cast(to: dtype)
  }
}
