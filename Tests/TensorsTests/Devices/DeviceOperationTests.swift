import TestSupport
import Testing

@testable import AttentionTensors

struct DeviceOperationTests {
  /// The same numbers, contiguous or with strides that no operation makes contiguous by itself.
  private func strided(_ tensor: Tensor) throws -> Tensor {
    guard tensor.rank >= 2, tensor.elementCount > 0 else {
      return try Tensor.concatenated([tensor.unsqueezed(-1), tensor.unsqueezed(-1)], -1)
        .selected(-1, 0)
    }
    return try tensor.transposed(0, -1).contiguous().transposed(0, -1)
  }

  private func expectNear(
    _ actual: Tensor, _ expected: Tensor, _ tolerance: Double, _ label: String
  ) throws {
    #expect(actual.device == GPU.device, "\(label)")
    #expect(actual.shape == expected.shape && actual.dtype == expected.dtype, "\(label)")
    guard actual.shape == expected.shape else { return }
    let (x, y) = (try actual.elements(as: Double.self), try expected.elements(as: Double.self))
    // The rounding of sums is relative to their terms.
    let scale = y.reduce(1) { max($0, abs($1)) }
    let worst = zip(x, y).enumerated().first { _, pair in
      !(pair.0 == pair.1 || abs(pair.0 - pair.1) <= tolerance * scale
        || (pair.0.isNaN && pair.1.isNaN))
    }
    if let worst {
      Issue.record(
        "\(label): element \(worst.offset) is \(worst.element.0), not \(worst.element.1)")
    }
  }

  @Test(.onGPU, arguments: DeviceOperation.all)
  func equalsTheProcessor(_ operation: DeviceOperation) throws {
    var generator = Philox(seed: 3)
    for dtype in operation.dtypes {
      for shapes in operation.shapes {
        for isStrided in [false, true] {
          let label = "\(operation.name) \(dtype.rawValue) \(shapes)\(isStrided ? " strided" : "")"
          let inputs = try shapes.map {
            let tensor = try Tensor.uniform(
              $0, from: operation.range.low, to: operation.range.high, using: &generator
            ).cast(to: dtype)
            return isStrided ? try strided(tensor) : tensor
          }
          let isTracked = dtype.isFloatingPoint && operation.isDifferentiable
          let host = inputs.map { isTracked ? $0.tracked() : $0 }
          let device = try inputs.map {
            let moved = try $0.contiguous().moved(to: GPU.device)
            let placed = isStrided ? try strided(moved) : moved
            return isTracked ? placed.tracked() : placed
          }
          let expected = try operation.apply(host)
          let actual = try operation.apply(device)
          let tolerance = DeviceOperation.tolerance(dtype)
          try expectNear(actual.detached(), expected.detached(), tolerance, label)
          guard isTracked else { continue }
          let seed = try Tensor.uniform(
            expected.shape, from: 0.5, to: 1.5, using: &generator, dtype: dtype)
          let wanted = try expected.gradients(of: host, seed: seed)
          let gradients = try actual.gradients(of: device, seed: seed.moved(to: GPU.device))
          for (index, pair) in zip(gradients, wanted).enumerated() {
            try expectNear(pair.0, pair.1, tolerance, "\(label) gradient \(index)")
          }
        }
      }
    }
  }

  /// Each conversion, for numbers that round or overflow, and NaN.
  @Test(.onGPU, arguments: DType.allCases)
  func castsAsTheProcessor(from dtype: DType) throws {
    let numbers: [Double] = [
      0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, 255.5, 65_519.9, 65_520, 1e-8, 6e-8, 3.5e38, 1e300,
      -1e300, .infinity, -.infinity, .nan, 2_147_483_647, 2_147_483_648, -2_147_483_649, 1e18, 1e19,
      1.001953125, 1.00390625, 1.0039063, 1.01171875, 16_777_217, 9_007_199_254_740_994,
    ]
    let source = try Tensor(numbers).cast(to: dtype)
    for target in DType.allCases {
      let expected = try source.cast(to: target)
      let actual = try source.moved(to: GPU.device).cast(to: target)
      let (x, y) = (
        try actual.elements(as: Double.self), try expected.elements(as: Double.self)
      )
      for (index, pair) in zip(x, y).enumerated() {
        #expect(
          pair.0 == pair.1 || (pair.0.isNaN && pair.1.isNaN),
          "\(numbers[index]) from \(dtype) to \(target) is \(pair.0), not \(pair.1)")
      }
    }
  }

  /// Numbers at the limits of functions' domains, where they overflow or are undefined.
  @Test(.onGPU, arguments: DeviceOperation.all.filter { $0.shapes.first == [[]] })
  func nastyNumbers(_ operation: DeviceOperation) throws {
    let nasty: [Float] = [
      0, -0.0, 1, -1, 100, -100, .infinity, -.infinity, .nan, .leastNonzeroMagnitude,
      .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 1 + .ulpOfOne, 88, -88, -104,
    ]
    for number in nasty {
      let host = try Tensor([number])
      let x = try operation.apply([host.moved(to: GPU.device)]).elements(as: Float.self)
      let y = try operation.apply([host]).elements(as: Float.self)
      for (a, b) in zip(x, y) {
        let isNear = abs(a - b) <= 1e-6 * abs(b) || abs(a - b) < .leastNormalMagnitude
        #expect(
          a == b || (a.isNaN && b.isNaN) || isNear, "\(operation.name) of \(number): \(a), not \(b)"
        )
      }
    }
  }

  @Test(.onGPU) func integersWrapAndDivideByZero() throws {
    let values: [Int64] = [0, 1, -1, .max, .min, 7, -7, 3]
    for dtype in [DType.int32, .int64] {
      let a = try Tensor(values).cast(to: dtype).unsqueezed(1)
      let b = try Tensor(values).cast(to: dtype).unsqueezed(0)
      let (x, y) = (try a.moved(to: GPU.device), try b.moved(to: GPU.device))
      let operations: [@Sendable (Tensor, Tensor) throws -> Tensor] = [
        { try $0 + $1 }, { try $0 - $1 }, { try $0 * $1 }, { try $0 / $1 },
      ]
      for (index, apply) in operations.enumerated() {
        #expect(
          try apply(x, y).elements(as: Int64.self) == apply(a, b).elements(as: Int64.self),
          "operation \(index) of \(dtype)")
      }
    }
  }

  @Test(.onGPU) func operandsOfTwoDevicesAreRefused() throws {
    let host = try Tensor([1, 2] as [Float])
    let device = try host.moved(to: GPU.device)
    #expect(throws: TensorError.self) { try host + device }
    #expect(throws: TensorError.self) { try device.isGreater(than: host) }
    #expect(throws: TensorError.self) { try Tensor.concatenated([host, device], 0) }
    #expect(throws: TensorError.self) {
      try Tensor.select(device.isEqual(to: device), host, device)
    }
  }

  /// A CPU tensor of one element may accompany GPU tensors, and gets its gradient on the CPU.
  @Test(.onGPU) func numbersMayStayWithTheProcessor() throws {
    let number = try Tensor([3] as [Float], []).tracked()
    let device = try Tensor([1, 2] as [Float]).moved(to: GPU.device).tracked()
    let product = try device * number
    #expect(try product.elements(as: Float.self) == [3, 6])
    let gradients = try product.sum().gradients(of: [number, device])
    #expect(gradients.map(\.device) == [.cpu, GPU.device])
    #expect(try gradients[0].elements(as: Float.self) == [3])
    #expect(try gradients[1].elements(as: Float.self) == [3, 3])
  }

  /// Rows that many indices select are added in a fixed order.
  @Test(.onGPU, arguments: [DType.float32, .float64, .bfloat16, .float16])
  func gatheringRows(dtype: DType) throws {
    var generator = Philox(seed: 8)
    for (rows, width, count) in [(5, 3, 0), (1, 1, 1), (7, 5, 40), (30, 70, 700), (3, 9, 333)] {
      let table = try Tensor.uniform([rows, width], using: &generator, dtype: dtype)
      // One index is most frequent, one never drawn.
      let drawn = (0..<count).map { _ in
        Int32(max(0, generator.next(below: 2 * rows - 1) - rows + 1))
      }
      let indices = try Tensor(drawn, [count])
      let seed = try Tensor.uniform([count, width], using: &generator, dtype: dtype)
      let host = table.tracked()
      let expected = try host.gatheringRows(indices)
      let wanted = try expected.gradients(of: [host], seed: seed)[0]
      for where_ in [Device.cpu, GPU.device] {
        let label = "[\(rows), \(width)] at \(count) indices on \(where_)"
        let moved = try table.moved(to: GPU.device).tracked()
        let actual = try moved.gatheringRows(indices.moved(to: where_))
        try expectNear(actual.detached(), expected.detached(), 0, label)
        let gradient = try actual.gradients(of: [moved], seed: seed.moved(to: GPU.device))[0]
        try expectNear(gradient, wanted, DeviceOperation.tolerance(dtype), "gradient of \(label)")
      }
    }
  }

  @Test(.onGPU) func indicesOutOfRangeAreNamedOrGiveNaN() throws {
    let table = try Tensor.ones([3, 5]).moved(to: GPU.device).tracked()
    let indices = try Tensor([0, 3, -1, 2] as [Int32])
    #expect(throws: TensorError.self) { try table.gatheringRows(indices) }
    let rows = try table.gatheringRows(indices.moved(to: GPU.device))
    let values = try rows.sum([1]).elements(as: Float.self)
    #expect(values[0] == 5 && values[1].isNaN && values[2].isNaN && values[3] == 5)
    let gradient = try rows.gradients(of: [table], seed: .ones([4, 5], device: GPU.device))[0]
    #expect(try gradient.sum([1]).elements(as: Float.self) == [5, 0, 5])
  }

  /// Random bits equal those of the CPU, wherever the stream is split.
  @Test(.onGPU) func randomBitsAreTheSameEverywhere() throws {
    for seed: UInt64 in [0, 7, .max] {
      var (host, device) = (
        Philox(seed: seed, position: seed / 2), Philox(seed: seed, position: seed / 2)
      )
      for shape: Shape in [[3], [0], [2, 500], [1]] {
        let expected = try Tensor.randomBits(shape, using: &host)
        let actual = try Tensor.randomBits(shape, using: &device, device: GPU.device)
        #expect(
          try actual.elements(as: Int64.self) == expected.elements(as: Int64.self), "seed \(seed)")
        #expect(host == device)
      }
    }
  }

  /// Rows are appended and dropped as on the CPU.
  @Test(.onGPU) func growableRowsStayOnTheirDevice() throws {
    var host = try GrowableRows(batch: 2, rowShape: [3], dtype: .bfloat16)
    var device = try GrowableRows(
      batch: 2, rowShape: [3], dtype: .bfloat16, device: GPU.device)
    for step in 0..<20 {
      let rows = try normal([2, step % 4, 3], UInt64(step), dtype: .bfloat16)
      try host.append(rows)
      try device.append(rows.moved(to: GPU.device))
      if step % 5 == 4 {
        try host.removeFirst(3)
        try device.removeFirst(3)
      }
      let (x, y) = (try device.tensor(), try host.tensor())
      #expect(x.shape == y.shape)
      #expect(try x.elements(as: Float.self) == y.elements(as: Float.self), "step \(step)")
    }
    #expect(try device.tensor().device == GPU.device)
    #expect(throws: TensorError.self) { try device.append(.zeros([2, 1, 3], dtype: .bfloat16)) }
  }
}
