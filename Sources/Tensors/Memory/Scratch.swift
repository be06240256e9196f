/// Working memory of a kernel, from the same pool as tensors, so that it is counted and recycled.
public final class Scratch: @unchecked Sendable {
  public let base: UnsafeMutablePointer<Float>
  private let memory: HostMemory

  /// - Throws: ``TensorError/outOfMemory(requestedBytes:heldBytes:)``
  public init(floats count: Int) throws {
    memory = try HostMemory(byteCount: count * MemoryLayout<Float>.size)
    base = memory.base.assumingMemoryBound(to: Float.self)
  }
}
