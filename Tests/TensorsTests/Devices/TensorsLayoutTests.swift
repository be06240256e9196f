import AttentionCUDAKernels
import Testing

@testable import AttentionTensors

/// The layout that kernels go through, without a GPU.
struct TensorsLayoutTests {
  /// The elements of a C array.
  private func numbers(_ array: some BitwiseCopyable) -> [Int] {
    withUnsafeBytes(of: array) { $0.bindMemory(to: Int64.self).map { Int($0) } }
  }

  @Test func neighboursAreMerged() throws {
    let shape: Shape = [2, 3, 4, 5]
    let layout = try TensorsLayout(
      shape: shape, strides: [shape.contiguousStrides, shape.contiguousStrides])
    #expect(layout.rank == 0 && layout.rows == 1 && layout.length == 120)
    #expect(numbers(layout.steps)[0] == 1 && layout.row_groups == 30 && layout.blocks == 1)
  }

  @Test func broadcastAxesStayApart() throws {
    let shape: Shape = [2, 3, 4, 5]
    let layout = try TensorsLayout(
      shape: shape, strides: [shape.contiguousStrides, [0, 0, 5, 1]])
    #expect(layout.rank == 1 && layout.length == 20 && layout.rows == 6)
    #expect(numbers(layout.strides.0)[0] == 20 && numbers(layout.strides.1)[0] == 0)
    #expect(numbers(layout.steps)[1] == 1)
  }

  /// The first element of every row is at the offset that the strides give.
  @Test func rowsAreWhereTheStridesSay() throws {
    let shape: Shape = [2, 3, 4, 5]
    let strides = [1, 40, 2, 8]
    let layout = try TensorsLayout(shape: shape, strides: [shape.contiguousStrides, strides])
    let extents = numbers(layout.extents)
    let (outer, step) = (numbers(layout.strides.1), numbers(layout.steps)[1])
    var places: [Int] = []
    for row in 0..<Int(layout.rows) {
      var (rest, place) = (row, 0)
      for axis in stride(from: Int(layout.rank) - 1, through: 0, by: -1) {
        place += rest % extents[axis] * outer[axis]
        rest /= extents[axis]
      }
      for i in 0..<Int(layout.length) { places.append(place + i * step) }
    }
    var expected: [Int] = []
    for a in 0..<2 {
      for b in 0..<3 {
        for c in 0..<4 {
          for d in 0..<5 { expected.append(a + b * 40 + c * 2 + d * 8) }
        }
      }
    }
    #expect(places == expected)
  }

  @Test func nothingIsLaunchedForNothing() throws {
    for shape: Shape in [[0], [3, 0], [0, 3], [2, 0, 2]] {
      let layout = try TensorsLayout(shape: shape, strides: [shape.contiguousStrides])
      #expect(layout.blocks == 0, "\(shape)")
    }
    #expect(try TensorsLayout(shape: [], strides: [[]]).blocks == 1)
  }

  @Test func onlyManyElementsNeedWidePlaces() throws {
    let limit = 1 << 33
    #expect(try TensorsLayout(shape: [limit - 4], strides: [[1]]).is_wide == 0)
    #expect(try TensorsLayout(shape: [limit], strides: [[1]]).is_wide == 1)
  }

  @Test func tooManyAxesAreNamed() throws {
    let shape = Shape([Int](repeating: 2, count: 9))
    let backwards = Array(shape.contiguousStrides.reversed())
    #expect(throws: TensorError.self) {
      try TensorsLayout(shape: shape, strides: [shape.contiguousStrides, backwards])
    }
    #expect(throws: Never.self) {
      try TensorsLayout(shape: shape, strides: [shape.contiguousStrides])
    }
  }
}
