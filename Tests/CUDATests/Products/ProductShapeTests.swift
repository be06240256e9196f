import Testing

@testable import AttentionCUDA

/// Layouts of matrices for cuBLASLt, without a GPU.
struct ProductShapeTests {
  private func layout(_ rows: Int, _ columns: Int, _ strides: (Int, Int)) -> [Int]? {
    ProductShape.Layout.of(rows: rows, columns: columns, strides: (strides.0, strides.1))
      .map { [$0.isTransposed ? 1 : 0, $0.pitch] }
  }

  @Test func denseRowsAndColumnsAreTakenAsTheyLie() {
    #expect(layout(3, 5, (5, 1)) == [0, 5])
    #expect(layout(3, 5, (9, 1)) == [0, 9])
    #expect(layout(3, 5, (1, 3)) == [1, 3])
    #expect(layout(3, 5, (1, 8)) == [1, 8])
  }

  /// Strides of axes of one element are arbitrary.
  @Test func oneRowOrColumn() {
    #expect(layout(1, 5, (77, 1)) == [0, 5])
    #expect(layout(1, 5, (0, 1)) == [0, 5])
    #expect(layout(5, 1, (1, 0)) == [0, 1])
    #expect(layout(5, 1, (7, 1000)) == [0, 7])
    #expect(layout(1, 1, (0, 0)) == [0, 1])
    #expect(layout(1, 5, (1, 4)) == [1, 4])
  }

  /// Rows that overlap or repeat, and elements with gaps, must be copied.
  @Test func whatIsNotDenseIsCopied() {
    #expect(layout(3, 5, (0, 0)) == nil)
    #expect(layout(3, 5, (0, 1)) == nil)
    #expect(layout(3, 5, (10, 2)) == nil)
    #expect(layout(3, 5, (2, 1)) == nil)
    #expect(layout(5, 1, (0, 1)) == nil)
  }

  @Test func addressesSayHowFarTheyAreAligned() {
    func alignment(_ address: UInt64) -> Int {
      ProductShape.Layout(isTransposed: false, pitch: 1, batchStride: 0, address: address).alignment
    }
    #expect(alignment(0x1000) == 256)
    #expect(alignment(0x1002) == 2)
    #expect(alignment(0x1050) == 16)
  }
}
