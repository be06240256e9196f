import Testing

@testable import AttentionTensors

@Suite struct GrowableRowsTests {
  /// Rows `first`..<`first + count` of two batch entries; row r of entry e holds [r, 100 e + r].
  private func rows(_ first: Int, _ count: Int) throws -> Tensor {
    let values = (0..<2).flatMap { entry in
      (first..<first + count).flatMap { [Float($0), Float(100 * entry + $0)] }
    }
    return try Tensor(values, [2, count, 2])
  }

  @Test func appendedRowsAreThereInOrder() throws {
    var growing = try GrowableRows(batch: 2, rowShape: [2], dtype: .float32)
    #expect(try growing.tensor().shape == [2, 0, 2])
    var count = 0
    for added in [1, 0, 3, 30, 1, 1, 100] {
      try growing.append(rows(count, added))
      count += added
      let expected = try rows(0, count).elements(as: Float.self)
      #expect(try growing.tensor().elements(as: Float.self) == expected, "after \(count) rows")
    }
  }

  @Test func slidingStaysSmallAndMovesRarely() throws {
    let window = 32
    var growing = try GrowableRows(batch: 2, rowShape: [2], dtype: .float32)
    for row in 0..<500 {
      try growing.removeFirst(growing.count - (window - 1))
      try growing.append(rows(row, 1))
      let first = max(0, row + 1 - window)
      let expected = try rows(first, row + 1 - first).elements(as: Float.self)
      #expect(try growing.tensor().elements(as: Float.self) == expected, "row \(row)")
      #expect(growing.byteCount <= 2 * (2 * window) * 2 * 4, "row \(row)")
    }
  }

  @Test func aLargeFirstAppendIsGivenBack() throws {
    var growing = try GrowableRows(batch: 2, rowShape: [2], dtype: .float32)
    try growing.append(rows(0, 1000))
    try growing.removeFirst(980)
    #expect(growing.byteCount <= 2 * 2 * 20 * 2 * 4)
    #expect(
      try growing.tensor().elements(as: Float.self) == rows(980, 20).elements(as: Float.self))
  }

  @Test func copiesAndEarlierTensorsDoNotChange() throws {
    var first = try GrowableRows(batch: 2, rowShape: [2], dtype: .float32)
    try first.append(rows(0, 3))
    let seen = try first.tensor()
    var second = first
    try first.append(rows(3, 1))
    try second.append(rows(50, 1))
    #expect(try seen.elements(as: Float.self) == rows(0, 3).elements(as: Float.self))
    #expect(try first.tensor().elements(as: Float.self) == rows(0, 4).elements(as: Float.self))
    let forked = try Tensor.concatenated([rows(0, 3), rows(50, 1)], 1)
    #expect(try second.tensor().elements(as: Float.self) == forked.elements(as: Float.self))
  }

  @Test func otherShapesAreRefused() throws {
    var growing = try GrowableRows(batch: 2, rowShape: [2], dtype: .float32)
    for wrong: Shape in [[1, 1, 2], [2, 1, 3], [2, 2], [2, 1, 2, 1]] {
      #expect(throws: TensorError.self, "\(wrong)") { try growing.append(.zeros(wrong)) }
    }
    #expect(throws: TensorError.self) {
      try growing.append(.zeros([2, 1, 2], dtype: .float64))
    }
  }
}
