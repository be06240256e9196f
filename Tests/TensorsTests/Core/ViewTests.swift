import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct ViewTests {
  /// The numbers 0, 1, 2, … in a given shape.
  private func counted(_ shape: Shape) throws -> Tensor {
    try Tensor.range(shape.elementCount, dtype: .float64).reshaped(shape)
  }

  /// The element at an index, by strides alone.
  private func element(_ x: Tensor, _ index: [Int]) throws -> Double {
    try x.withUnsafePointer(to: Double.self) {
      $0[zip(index, x.strides).reduce(0) { $0 + $1.0 * $1.1 }]
    }
  }

  private func sharesMemory(_ a: Tensor, _ b: Tensor) -> Bool {
    guard case .host(let first) = a.storage, case .host(let second) = b.storage else {
      return false
    }
    return first === second
  }

  @Test func permutedAxesAreViews() throws {
    let x = try counted([2, 3, 4])
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
      let view = try x.permuted(order)
      #expect(sharesMemory(view, x))
      for i in 0..<2 {
        for j in 0..<3 {
          for k in 0..<4 {
            let index = order.map { [i, j, k][$0] }
            #expect(try element(view, index) == element(x, [i, j, k]), "\(order) \(index)")
          }
        }
      }
      try expectGradients(of: [x], "\(order)") { try $0[0].permuted(order).squared() }
    }
    for order in [[0, 1], [0, 1, 1], [0, 1, 3], [0, 1, -1]] {
      #expect(throws: TensorError.self) { try x.permuted(order) }
    }
    #expect(throws: TensorError.self) { try counted([3]).transposed() }
  }

  @Test func slicesAreViewsWithGradients() throws {
    let x = try counted([3, 4])
    let slice = try x.sliced(-1, 1..<3)
    #expect(sharesMemory(slice, x))
    #expect(try slice.elements(as: Double.self) == [1, 2, 5, 6, 9, 10])
    #expect(try x.sliced(0, 3..<3).shape == [0, 4])
    #expect(try x.selected(0, 2).elements(as: Double.self) == [8, 9, 10, 11])
    #expect(try x.selected(-1, 0).elements(as: Double.self) == [0, 4, 8])
    let parts = try x.split(1, sizes: [1, 0, 3])
    #expect(parts.map(\.shape) == [[3, 1], [3, 0], [3, 3]])
    try expectGradients(of: [x]) { try $0[0].sliced(1, 1..<3).squared() }
    try expectGradients(of: [x]) { try $0[0].selected(0, 1).squared() }
    try expectGradients(of: [x]) { try $0[0].sliced(0, 1..<1) }
    try expectGradients(of: [x]) {
      let parts = try $0[0].split(1, sizes: [1, 3])
      return try parts[0] * parts[1]
    }
    // An unused piece has a gradient of zero.
    try expectGradients(of: [x]) { try $0[0].split(-1, sizes: [1, 2, 1])[1].squared() }
    for range in [-1..<2, 0..<5, 5..<6] {
      #expect(throws: TensorError.self) { try x.sliced(1, range) }
    }
    #expect(throws: TensorError.self) { try x.selected(0, 3) }
    #expect(throws: TensorError.self) { try x.split(1, sizes: [5, -1]) }
    #expect(throws: TensorError.self) { try x.split(1, sizes: [2]) }
  }

  @Test func expandedAxesRepeatWithoutMemory() throws {
    let x = try counted([3, 1])
    let view = try x.expanded(to: [2, 3, 4])
    #expect(view.strides == [0, 1, 0])
    #expect(sharesMemory(view, x))
    #expect(
      try view.elements(as: Double.self)
        == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    try expectGradients(of: [x]) { try $0[0].expanded(to: [2, 3, 4]).squared() }
    #expect(try x.expanded(to: [3, 0]).elements(as: Double.self) == [])
    for target in [[4, 1], [3], [2, 1], [3, -1], [Int.max, 3, 1]] as [Shape] {
      #expect(throws: TensorError.self) { try x.expanded(to: target) }
    }
  }

  @Test func extentsOfOneComeAndGo() throws {
    let x = try counted([2, 3])
    #expect(try x.unsqueezed(0).shape == [1, 2, 3])
    #expect(try x.unsqueezed(-1).shape == [2, 3, 1])
    #expect(try x.unsqueezed(1).squeezed(-2).shape == [2, 3])
    try expectGradients(of: [x]) { try $0[0].unsqueezed(1).squared().squeezed(1) }
    #expect(throws: TensorError.self) { try x.squeezed(0) }
    #expect(throws: TensorError.self) { try x.unsqueezed(3) }
    #expect(throws: TensorError.self) { try x.unsqueezed(-4) }
  }

  /// Every way to reshape 24 elements into up to three axes, for views with all kinds of strides.
  @Test func reshapingKeepsTheOrderOfElements() throws {
    let base = try counted([2, 3, 4])
    let views: [(String, Tensor)] = [
      ("contiguous", base), ("permuted", try base.permuted([2, 0, 1])),
      ("swapped", try base.transposed(0, 1)), ("slice", try counted([2, 5, 4]).sliced(1, 1..<4)),
      ("inner slice", try counted([2, 3, 6]).sliced(2, 1..<5)),
      ("expanded", try counted([1, 3, 4]).expanded(to: [2, 3, 4])),
      ("all one", try Tensor.full([2, 3, 4], 5, dtype: .float64)),
      ("ones between", try base.unsqueezed(1).unsqueezed(3).transposed(0, 2)),
    ]
    var targets: [Shape] = [[24], [-1], [4, -1], [2, -1, 3]]
    for first in 1...24 where 24 % first == 0 {
      for second in 1...24 / first where 24 / first % second == 0 {
        let third = 24 / first / second
        targets += [[first, second, third], [first, 1, second, third, 1]]
      }
    }
    for (name, view) in views {
      let expected = try view.elements(as: Double.self)
      for target in targets {
        let reshaped = try view.reshaped(target)
        #expect(try reshaped.elements(as: Double.self) == expected, "\(name) as \(target)")
      }
    }
    try expectGradients(of: [base]) { try $0[0].transposed().reshaped([4, 6]).squared() }
  }

  @Test func reshapingCopiesOnlyWhereItMust() throws {
    let x = try counted([4, 6])
    func isView(_ view: Tensor, _ target: Shape) throws -> Bool {
      sharesMemory(try view.reshaped(target), view)
    }
    #expect(try isView(x, [2, 2, 3, 2]))
    #expect(try isView(x.transposed(), [2, 3, 2, 2]))
    #expect(try isView(x.sliced(1, 0..<4), [2, 2, 2, 2]))
    #expect(try isView(x.sliced(0, 1..<3), [12]))
    #expect(try isView(Tensor.full([4, 6], 1, dtype: .float64), [24]))
    #expect(try !isView(x.transposed(), [24]))
    #expect(try !isView(x.sliced(1, 0..<4), [16]))
  }

  @Test func impossibleShapesAreErrors() throws {
    let x = try counted([2, 3])
    let impossible: [Shape] = [
      [5], [-1, -1], [4, -1], [-2, -3], [0, -1], [Int.max, 2], [Int.max, Int.max, 2, 3], [],
    ]
    for target in impossible {
      #expect(throws: TensorError.self, "\(target)") { try x.reshaped(target) }
    }
    #expect(try counted([0, 3]).reshaped([3, 0]).shape == [3, 0])
    #expect(try counted([0, 3]).reshaped([-1, 3]).shape == [0, 3])
    #expect(throws: TensorError.self) { try Tensor.zeros([-1]) }
    #expect(throws: TensorError.self) { try Tensor.zeros([1 << 40, 1 << 40]) }
    #expect(throws: TensorError.self) { try Tensor.zeros([0, 1 << 40, 1 << 40]).contiguous() }
    #expect(throws: TensorError.self) { try Tensor([1, 2, 3] as [Float], [2]) }
  }

  @Test(arguments: DType.allCases)
  func copiesKeepEveryType(_ dtype: DType) throws {
    let x = try Tensor([0, 1, 1, 0, 0, 1] as [Float], [2, 3]).cast(to: dtype).transposed()
    let copy = try x.contiguous()
    #expect(copy.isContiguous && !x.isContiguous)
    #expect(copy.dtype == dtype)
    #expect(try copy.elements(as: Float.self) == [0, 0, 1, 0, 1, 1])
  }

  @Test func largeViewsAreCopiedByAllThreads() throws {
    let x = try Tensor.range(300_000).reshaped([300, 1000]).transposed()
    let expected = (0..<300_000).map { (place: Int) in Int32(place % 300 * 1000 + place / 300) }
    let isRight = try x.elements(as: Int32.self) == expected
    #expect(isRight)
  }

  @Test func readingAnotherTypeIsAnError() throws {
    #expect(throws: TensorError.self) {
      try Tensor.ones([2]).withUnsafePointer(to: Double.self) { $0[0] }
    }
    #expect(throws: TensorError.self) { try Tensor.ones([2]).item() }
  }
}
