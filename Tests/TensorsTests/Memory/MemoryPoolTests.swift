import TestSupport
import Testing

@testable import AttentionTensors

/// The pool is shared by the whole process, in which other tests run: these tests use sizes that no other test
/// requests, or check bounds.
@Suite(.serialized) struct MemoryPoolTests {
  @Test func freedBlocksAreUsedAgain() throws {
    let size = 123 << 20
    let first = try MemoryPool.allocate(size)
    #expect(UInt(bitPattern: first) % 64 == 0)
    MemoryPool.release(first, size)
    let second = try MemoryPool.allocate(size)
    #expect(second == first)
    MemoryPool.release(second, size)
    MemoryPool.trim()
  }

  @Test func heldAndPeakBytesAreCounted() throws {
    // Far more than all other tests together hold, so that they do not matter.
    let size = 1 << 30
    MemoryPool.resetPeak()
    do {
      let memory = try HostMemory(byteCount: size)
      withExtendedLifetime(memory) {
        #expect(MemoryPool.heldBytes >= size)
      }
    }
    #expect(MemoryPool.peakBytes >= size)
    #expect(MemoryPool.heldBytes < size)
    #expect(MemoryPool.resetPeak() < size)
    #expect(MemoryPool.peakBytes < size)
    MemoryPool.trim()
  }

  @Test func viewsShareOneBlockAndCopiesDoNot() throws {
    let x = try Tensor.ones([64, 64]).contiguous()
    let place = try x.hostElements().base
    #expect(try x.transposed().hostElements().base == place)
    #expect(try x.transposed().contiguous().hostElements().base != place)
  }

  @Test func moreThanThereIsIsAnError() throws {
    let bytes = 1 << 60
    let error = #expect(throws: TensorError.self) {
      try Tensor.filling([bytes], as: Bool.self) { _ in }
    }
    guard case .outOfMemory(bytes, _)? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(throws: TensorError.self) { try Tensor.filling([1 << 56], as: Bool.self) { _ in } }
  }

  @Test func poisonedMemoryShowsWhatIsNotWritten() throws {
    MemoryPool.poisonsFreshMemory = true
    defer { MemoryPool.poisonsFreshMemory = false }
    for dtype in [DType.float32, .float64, .float16, .bfloat16] {
      let tensor = try Tensor.filling([33], dtype: dtype) { _ in }
      #expect(try tensor.elements(as: Float.self).allSatisfy(\.isNaN), "\(dtype)")
    }
    // Every operation writes all of its result.
    let x = try normal([7, 9], 1, dtype: .float32)
    let results = try [
      x.matmul(x.transposed()), x.softmax(), x.sum([0]), x.sum([1]), x + 1, x.tanh(),
      x.transposed().contiguous(), x.gatheringRows(Tensor([0, 6] as [Int32])),
      .concatenated([x, x], 1), .select(x.isGreater(than: x), x, x),
      x.matmul(.zeros([9, 0])), Tensor.ones([2, 0]).matmul(.ones([0, 3])),
      x.cast(to: .bfloat16), x.crossEntropy(Tensor([Int32](repeating: 0, count: 7))),
      x.rmsNorm(weight: .ones([9])), .swiglu(x, x),
    ]
    for (index, result) in results.enumerated() {
      #expect(try result.elements(as: Float.self).allSatisfy(\.isFinite), "result \(index)")
    }
  }
}
