/// Working memory of a kernel, from the tensors' pool, so that it is counted and reused.
public final class Scratch: @unchecked Sendable {
  public let base: UnsafeMutablePointer<Float>
  private let memory: HostMemory

  /// - Throws: ``TensorError/outOfMemory(requestedBytes:heldBytes:)`` if memory is exhausted.
  public init(floats count: Int) throws {
    memory = try HostMemory(byteCount: count * MemoryLayout<Float>.size)
    base = memory.base.assumingMemoryBound(to: Float.self)
  }
}
