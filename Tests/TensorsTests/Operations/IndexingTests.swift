import TestSupport
import Testing

@testable import AttentionTensors

/// Gather, concatenate, select and comparisons.
@Suite struct IndexingTests {
  @Test func gatherReadsRowsAndAddsGradients() throws {
    let table = try normal([4, 3], 1)
    let indices = try Tensor([3, 0, 3, 3, 1, 0] as [Int32], [2, 3])
    let rows = try table.gatheringRows(indices)
    #expect(rows.shape == [2, 3, 3])
    for (place, index) in [3, 0, 3, 3, 1, 0].enumerated() {
      try expectClose(
        rows.reshaped([6, 3]).selected(0, place), table.selected(0, index), within: 0)
    }
    try expectGradients(of: [table]) { try $0[0].gatheringRows(indices) }
    try expectGradients(of: [table]) {
      try $0[0].transposed().gatheringRows(Tensor([2, 2] as [Int32]))
    }
  }

  @Test(arguments: DType.allCases)
  func gatherKeepsEveryType(_ dtype: DType) throws {
    let table = try Tensor([0, 1, 1, 0, 1, 1] as [Float], [3, 2]).cast(to: dtype)
    let rows = try table.gatheringRows(Tensor([2, 0] as [Int32]))
    #expect(rows.dtype == dtype)
    #expect(try rows.elements(as: Float.self) == [1, 1, 0, 1])
    #expect(try table.gatheringRows(Tensor([] as [Int32])).shape == [0, 2])
    if dtype.isFloatingPoint {
      let tracked = table.tracked()
      let gradient = try tracked.gatheringRows(Tensor([2, 2, 0] as [Int32])).sum()
        .gradients(of: [tracked])[0]
      #expect(gradient.dtype == dtype)
      #expect(try gradient.elements(as: Float.self) == [1, 1, 0, 0, 2, 2])
    }
  }

  @Test func wrongIndicesAreNamed() throws {
    let table = try Tensor.ones([3, 2])
    for (index, value) in [(0, -1), (1, 3)] as [(Int, Int32)] {
      var indices: [Int32] = [0, 0]
      indices[index] = value
      #expect(
        throws: TensorError.invalidArgument(
          "indices[\(index)]", was: "\(value)", mustBe: "in 0..<3")
      ) { try table.gatheringRows(Tensor(indices)) }
    }
    #expect(throws: TensorError.self) { try table.gatheringRows(Tensor([0] as [Int64])) }
    #expect(throws: TensorError.self) { try Tensor.ones([3]).gatheringRows(.range(1)) }
  }

  @Test func concatenationAlongAnyAxisWithGradients() throws {
    for axis in [0, 1, 2, -1] {
      let resolved = axis < 0 ? axis + 3 : axis
      let parts = try [2, 0, 1, 3].enumerated().map { index, extent in
        var dimensions = [2, 3, 2]
        dimensions[resolved] = extent
        return try normal(Shape(dimensions), UInt64(index))
      }
      let whole = try Tensor.concatenated(parts, axis)
      var start = 0
      for part in parts {
        let end = start + part.shape[resolved]
        try expectClose(whole.sliced(axis, start..<end), part, within: 0, "axis \(axis)")
        start = end
      }
      #expect(whole.shape[resolved] == 6)
      try expectGradients(of: parts, "axis \(axis)") { try .concatenated($0, axis) }
    }
    let x = try normal([2, 3], 1)
    let views = try Tensor.concatenated([x.transposed(), x.transposed()], 1)
    try expectClose(views.sliced(1, 2..<4), x.transposed(), within: 0)
    try expectGradients(of: [x]) { try .concatenated([$0[0], $0[0]], 0) }
  }

  @Test func wrongPartsAreErrors() throws {
    let x = try Tensor.ones([2, 3])
    #expect(throws: TensorError.self) { try Tensor.concatenated([], 0) }
    #expect(throws: TensorError.self) { try Tensor.concatenated([x, .ones([2, 2])], 0) }
    #expect(throws: TensorError.self) { try Tensor.concatenated([x, .ones([3])], 0) }
    #expect(throws: TensorError.self) { try Tensor.concatenated([x], 2) }
    #expect(throws: TensorError.self) {
      try Tensor.concatenated([x, .ones([2, 3], dtype: .float16)], 0)
    }
  }

  @Test func selectBroadcastsWithGradients() throws {
    let condition = try Tensor([true, false, true], [3, 1])
    let (yes, no) = (try normal([1, 4], 1), try normal([2, 3, 1], 2))
    let result = try Tensor.select(condition, yes, no)
    #expect(result.shape == [2, 3, 4])
    try expectClose(
      result.sliced(1, 1..<2), no.sliced(1, 1..<2).expanded(to: [2, 1, 4]), within: 0)
    try expectClose(
      result.sliced(1, 2..<3), yes.unsqueezed(0).expanded(to: [2, 1, 4]), within: 0)
    try expectGradients(of: [yes, no]) { try .select(condition, $0[0], $0[1]) }
  }

  @Test func selectNeverLooksAtTheOther() throws {
    let condition = try Tensor([true, false])
    let x = try Tensor([1, 0] as [Float]).tracked()
    // The gradient of an element that is not selected is zero, not zero times infinity.
    let result = try Tensor.select(condition, x.logarithm(), .zeros([2]))
    #expect(try result.elements(as: Float.self) == [0, 0])
    let nan = try Tensor.full([2], .nan)
    #expect(try Tensor.select(condition, x, nan).elements(as: Float.self)[0] == 1)
    for dtype in DType.allCases {
      let one = try Tensor.ones([], dtype: dtype)
      let chosen = try Tensor.select(condition, one, .zeros([], dtype: dtype))
      #expect(try chosen.elements(as: Float.self) == [1, 0], "\(dtype)")
    }
    #expect(throws: TensorError.self) { try Tensor.select(x, x, x) }
    #expect(throws: TensorError.self) {
      try Tensor.select(condition, x, .zeros([2], dtype: .float64))
    }
  }

  @Test func comparisonsAreExactForEveryType() throws {
    for dtype in DType.allCases where dtype != .bool {
      let a = try Tensor([1, 2, 3, -1] as [Float], [4, 1]).cast(to: dtype)
      let b = try Tensor([2, -1] as [Float]).cast(to: dtype)
      #expect(
        try a.isGreater(than: b).elements(as: Bool.self)
          == [false, true, false, true, true, true, false, false], "\(dtype)")
      #expect(
        try a.isEqual(to: b).elements(as: Bool.self)
          == [false, false, true, false, false, false, false, true], "\(dtype)")
    }
    let large = try Tensor([Int64(1) << 53, (1 << 53) + 1])
    #expect(try large.sliced(0, 0..<1).isEqual(to: large).elements(as: Bool.self) == [true, false])
    let nan = try Tensor([Double.nan])
    #expect(try nan.isEqual(to: nan).elements(as: Bool.self) == [false])
    #expect(try nan.isGreater(than: nan).elements(as: Bool.self) == [false])
    #expect(
      try Tensor([true]).isGreater(than: Tensor([false])).elements(as: Bool.self) == [true])
    #expect(throws: TensorError.self) { try nan.isEqual(to: .ones([1])) }
  }
}
