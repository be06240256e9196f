import TestSupport
import Testing

@testable import AttentionTensors

/// Tensors without elements may have extents of any size; operations on them give a tensor or an error, never a
/// trap.
@Suite struct ExtentTests {
  private static let extents = [0, 1, 3, 1 << 31, 1 << 40, 1 << 60, 1 << 61]

  private func expectAnswer(_ what: String, _ body: () throws -> Void) {
    do { try body() } catch {
      #expect(error is TensorError && isPresentable(error), "\(what): \(error)")
    }
  }

  @Test func emptyTensorsOfEveryExtent() throws {
    for first in Self.extents {
      for second in Self.extents {
        guard let x = try? Tensor.zeros([0, first], dtype: .bool),
          let y = try? Tensor.zeros([second, 0], dtype: .bool),
          let z = try? Tensor.zeros([first, 0, second], dtype: .bool)
        else { continue }
        let what = "\(first), \(second)"
        expectAnswer(what) { _ = try Tensor.concatenated([x, x, x, x], 1) }
        expectAnswer(what) { _ = try Tensor.concatenated([y, x.transposed()], 0) }
        expectAnswer(what) { _ = try z.reshaped([second, -1]) }
        expectAnswer(what) { _ = try z.transposed(0, 2).contiguous() }
        expectAnswer(what) { _ = try z.cast(to: .float64) }
        expectAnswer(what) { _ = try x.expanded(to: [second, 0, first]) }
        guard let wide = try? x.cast(to: .float32), let tall = try? y.cast(to: .float32) else {
          continue
        }
        // The result combines axes of two tensors without elements.
        if first == second { expectAnswer(what) { _ = try wide.matmul(tall) } }
        if first.multipliedReportingOverflow(by: second).partialValue >= 1 << 40 || first >= 1 << 60
        {
          expectAnswer(what) { _ = try wide.transposed().matmul(tall.transposed()) }
        }
        expectAnswer(what) { _ = try wide.sum([1]) }
        expectAnswer(what) { _ = try tall.softmax() }
        expectAnswer(what) { _ = try tall.rmsNorm(weight: .zeros([0])) }
        expectAnswer(what) { _ = try tall.l2Normalized(epsilon: 1e-6) }
        expectAnswer(what) {
          let many = try tall.unsqueezed(1)
          _ = try many.transposed().matmul(many)
        }
        expectAnswer(what) { _ = try wide + tall.transposed() }
      }
    }
  }
}
