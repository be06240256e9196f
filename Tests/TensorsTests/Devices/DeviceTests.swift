import TestSupport
import Testing

@testable import AttentionTensors

struct DeviceTests {
  /// Device addresses are not host addresses.
  @Test(.onGPU) func elementsOfADeviceAreNotReadWhereTheyLie() throws {
    let tensor = try Tensor([1, 2, 3] as [Float]).moved(to: GPU.device)
    #expect(tensor.device == GPU.device)
    let error = TensorError.invalidArgument("device", was: "cuda:0", mustBe: "cpu")
    #expect(throws: error) { try tensor.withUnsafeRawPointer { _ in } }
    #expect(throws: error) { try tensor.withUnsafePointer(to: Float.self) { _ in } }
    #expect(throws: error) { try tensor.hostElements() }
    #expect(try tensor.elements(as: Float.self) == [1, 2, 3])
  }

  @Test func elementsOfTheProcessorHaveNoAddressOnADevice() throws {
    let error = TensorError.invalidArgument("device", was: "cpu", mustBe: "a GPU, as cuda:0")
    #expect(throws: error) { try Tensor([1] as [Float]).deviceAddress() }
    #expect(throws: error) { try DeviceQueue.shared(for: .cpu) }
    #expect(throws: error) { try Tensor.onDevice([2], dtype: .float32, device: .cpu) }
  }

  @Test(.onGPU) func aDeviceThatIsNotThereIsNamed() throws {
    #expect(throws: (any Error).self) { try Tensor([1] as [Float]).moved(to: .cuda(1_000)) }
  }

  /// Moving to a GPU and back keeps the numbers, for every dtype and kind of view.
  @Test(.onGPU, arguments: DType.allCases)
  func movingKeepsElements(dtype: DType) throws {
    var generator = Philox(seed: 5)
    for shape: Shape in [[], [0], [1], [7], [3, 0, 2], [5, 4, 3], [2, 3, 4, 5]] {
      let tensor = try Tensor.uniform(shape, from: 0, to: 100, using: &generator).cast(to: dtype)
      var views = [tensor, try tensor.expanded(to: Shape([3] + shape.dimensions))]
      if shape.rank >= 2 {
        views.append(try tensor.transposed(0, -1))
        views.append(try tensor.sliced(0, 1..<shape[0]))
      }
      for view in views {
        let moved = try view.moved(to: GPU.device)
        #expect(moved.shape == view.shape && moved.dtype == dtype)
        let back = try moved.moved(to: .cpu)
        #expect(back.device == .cpu)
        #expect(try back.elements(as: Double.self) == view.elements(as: Double.self), "\(view)")
      }
    }
  }

  /// Views are made on the tensor's device, and read through a copy there.
  @Test(.onGPU, arguments: DType.allCases)
  func viewsOfADeviceReadAsOnTheProcessor(dtype: DType) throws {
    let shape: Shape = [3, 4, 5, 2]
    let tensor = try Tensor.range(120).cast(to: dtype).reshaped(shape)
    let moved = try tensor.moved(to: GPU.device)
    let views: [(Tensor) throws -> Tensor] = [
      { try $0.transposed() }, { try $0.permuted([3, 1, 0, 2]) }, { try $0.sliced(2, 1..<4) },
      { try $0.selected(1, 2).transposed(0, 1) }, { try $0.transposed(0, 2).reshaped([5, -1]) },
      { try $0.sliced(3, 1..<2).expanded(to: [3, 4, 5, 6]) },
    ]
    for (index, view) in views.enumerated() {
      let onDevice = try view(moved)
      #expect(onDevice.device == GPU.device)
      let dense = try onDevice.contiguous()
      #expect(dense.isContiguous && dense.device == GPU.device)
      let expected = try view(tensor).elements(as: Double.self)
      #expect(try dense.elements(as: Double.self) == expected, "view \(index)")
      #expect(try onDevice.elements(as: Double.self) == expected, "view \(index)")
    }
  }

  /// Larger than the ring of page-locked memory.
  @Test(.onGPU) func largeTensorsPassThroughLittlePinnedMemory() throws {
    let count = 6_000_001
    let tensor = try Tensor.range(count, dtype: .int32)
    let moved = try tensor.moved(to: GPU.device)
    let more = try (0..<40).map { try Tensor([Int32($0)]).moved(to: GPU.device) }
    #expect(try moved.elements(as: Int32.self) == tensor.elements(as: Int32.self))
    #expect(try more.map { try $0.item() } == (0..<40).map(Double.init))
    #expect(try moved.sliced(0, count - 2..<count).elements(as: Int32.self).last == 6_000_000)
  }

  /// Gradients move back to the device that a tensor came from.
  @Test(.onGPU) func theGradientMovesBack() throws {
    let x = try Tensor([1, 2, 3] as [Float]).tracked()
    let y = try x.moved(to: GPU.device)
    let seed = try Tensor([4, 5, 6] as [Float]).moved(to: GPU.device)
    let gradient = try y.gradients(of: [x], seed: seed)[0]
    #expect(gradient.device == .cpu)
    #expect(try gradient.elements(as: Float.self) == [4, 5, 6])
    let untouched = try Tensor([1] as [Float]).moved(to: GPU.device).tracked()
    #expect(try x.gradients(of: [untouched], seed: x.detached())[0].device == GPU.device)
  }

  /// Files contain the same bytes as for a CPU tensor.
  @Test(.onGPU) func filesTakeTensorsOfADevice() throws {
    let folder = TemporaryFolder()
    let tensor = try Tensor.range(24, dtype: .float32).reshaped([4, 6]).transposed()
    let moved = try tensor.moved(to: GPU.device).transposed().transposed()
    for (name, value) in [("cpu", tensor), ("gpu", moved)] {
      try Safetensors.write([("x", value)], to: folder.path("\(name).safetensors"))
      try NumPyFile.write(value, to: folder.path("\(name).npy"))
    }
    let read = try SafetensorsFile(path: folder.path("gpu.safetensors")).tensor(named: "x")
    #expect(try read.elements(as: Float.self) == tensor.elements(as: Float.self))
    #expect(
      try NumPyFile.read(folder.path("gpu.npy")).elements(as: Float.self)
        == tensor.elements(as: Float.self))
  }

  /// Fresh memory reveals what a kernel fails to write.
  @Test(.onGPU) func freshMemoryIsPoisonedWhereAskedFor() throws {
    let before = MemoryPool.poisonsFreshMemory
    MemoryPool.poisonsFreshMemory = true
    defer { MemoryPool.poisonsFreshMemory = before }
    let fresh = try Tensor.onDevice([33], dtype: .float32, device: GPU.device)
    #expect(try fresh.elements(as: Float.self).allSatisfy(\.isNaN))
  }
}
