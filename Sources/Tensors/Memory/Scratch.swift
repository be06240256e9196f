/// Working memory of a kernel, from the same pool as tensors, so that it is counted and recycled.
public final class Scratch: @unchecked Sendable {
  public let base: UnsafeMutablePointer<Float>
  private let storage: Storage

  /// - Throws: ``TensorError/outOfMemory(requestedBytes:heldBytes:)``
  public init(floats count: Int) throws {
    storage = try Storage(byteCount: count * MemoryLayout<Float>.size)
    base = storage.base.assumingMemoryBound(to: Float.self)
  }
}
