import AttentionCUDA
import TestSupport
import Testing

@testable import AttentionTensors

struct DeviceMatmulTests {
  @Test func leadingAxesAreBatches() {
    // [2, 3] contiguous matrices of 4 × 5: one batch.
    let dense = ProductBatches([2, 3], [[60, 20, 5, 1]])
    #expect(dense == ProductBatches([6], [[20, 5, 1]]))
    #expect(dense.count == 6 && dense.strides == [20] && dense.offsets == [[0]])
    // One operand is broadcast along the first axis: one batch per index of it.
    let mixed = ProductBatches([2, 3], [[60, 20, 5, 1], [0, 10, 2, 1]])
    #expect(mixed.count == 3 && mixed.strides == [20, 10])
    #expect(mixed.offsets == [[0, 0], [60, 0]])
    let single = ProductBatches([], [[5, 1], [1, 5]])
    #expect(single.count == 1 && single.strides == [0, 0] && single.offsets == [[0, 0]])
    let both = ProductBatches([4, 2], [[2, 100, 1, 1], [0, 0, 1, 1]])
    #expect(both.count == 4 && both.offsets == [[0, 0], [100, 0]])
  }

  private static let shapes: [(Shape, Shape)] = [
    ([3, 5], [5, 4]), ([1, 5], [5, 4]), ([3, 5], [5, 1]), ([1, 1], [1, 1]), ([1, 7], [7, 1]),
    ([2, 3, 5], [5, 4]), ([2, 3, 5], [2, 5, 4]), ([3, 5], [2, 5, 4]), ([2, 1, 3, 5], [7, 5, 4]),
    ([2, 7, 3, 5], [7, 5, 4]), ([0, 5], [5, 4]), ([3, 0], [0, 4]), ([2, 3, 5], [5, 0]),
    ([40, 33], [33, 65]),
  ]

  /// Views of a matrix that a product accepts: contiguous, transposed, with gaps, broadcast.
  private static let views: [(name: String, apply: @Sendable (Tensor) throws -> Tensor)] = [
    ("dense", { $0 }), ("transposed", { try $0.transposed().contiguous().transposed() }),
    (
      "with gaps",
      { x in
        try Tensor.concatenated([x.unsqueezed(-1), x.unsqueezed(-1)], -1).selected(-1, 0)
      }
    ),
    (
      "sliced",
      { x in
        let last = x.shape[x.rank - 1]
        return try Tensor.concatenated([x, x], -1).sliced(-1, last..<2 * last)
      }
    ),
  ]

  @Test(.onGPU, arguments: [DType.float32, .float64, .bfloat16, .float16])
  func equalsTheProcessor(dtype: DType) throws {
    for (index, (first, second)) in Self.shapes.enumerated() {
      let a = try normal(first, UInt64(index), dtype: dtype)
      let b = try normal(second, UInt64(index) + 50, dtype: dtype)
      for left in Self.views {
        for right in Self.views {
          let label = "\(dtype.rawValue) \(first) \(left.name) × \(second) \(right.name)"
          let host = [a.tracked(), b.tracked()]
          let device = [
            try left.apply(a.moved(to: GPU.device)).tracked(),
            try right.apply(b.moved(to: GPU.device)).tracked(),
          ]
          let expected = try host[0].matmul(host[1])
          let actual = try device[0].matmul(device[1])
          #expect(actual.device == GPU.device, "\(label)")
          // Sums of up to 65 terms in another order, then one rounding.
          let tolerance = 2 * DeviceOperation.tolerance(dtype)
          try expectClose(actual, expected, within: tolerance, label)
          let seed = try normal(expected.shape, 99, dtype: dtype)
          let wanted = try expected.gradients(of: host, seed: seed)
          let gradients = try actual.gradients(of: device, seed: seed.moved(to: GPU.device))
          for place in 0...1 {
            #expect(gradients[place].device == GPU.device, "\(label)")
            try expectClose(
              gradients[place], wanted[place], within: tolerance, "gradient \(place) of \(label)")
          }
        }
      }
    }
  }

  /// The gradient of a sum is broadcast, and not a layout that products read in place.
  @Test(.onGPU) func gradientsOfASumOfAProduct() throws {
    let a = try normal([2, 3, 5], 1, dtype: .float32)
    let b = try normal([5, 4], 2, dtype: .float32)
    func gradients(_ inputs: [Tensor]) throws -> [Tensor] {
      try inputs[0].matmul(inputs[1]).mean().gradients(of: inputs)
    }
    let wanted = try gradients([a.tracked(), b.tracked()])
    let actual = try gradients([a, b].map { try $0.moved(to: GPU.device).tracked() })
    for (x, y) in zip(actual, wanted) { try expectClose(x, y, within: 1e-6) }
  }

  /// TF32 is used on request only, and for float32 only.
  @Test func operandsAreRoundedOnRequest() {
    #expect(!DeviceProducts.allowsTF32)
    for (dtype, element) in [
      (DType.float64, ProductShape.Element.float64), (.bfloat16, .bfloat16), (.float16, .float16),
    ] {
      #expect(dtype.productElement(allowsTF32: true) == element)
    }
    #expect(DType.float32.productElement(allowsTF32: true) == .tf32)
    #expect(DType.float32.productElement(allowsTF32: false) == .float32)
  }

  @Test(.onGPU) func operandsOfTwoDevicesAreRefused() throws {
    let host = try Tensor.ones([2, 2])
    let device = try host.moved(to: GPU.device)
    #expect(throws: TensorError.self) { try host.matmul(device) }
    #expect(try Tensor.ones([1, 1]).matmul(device.sliced(0, 0..<1)).device == GPU.device)
  }
}
