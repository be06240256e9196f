import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct TensorTextTests {
  private func text(_ tensor: Tensor) -> String { "\(tensor)" }

  @Test func columnsLineUp() throws {
    #expect(
      text(try Tensor([1, 2.5, 3, 4, .nan, -.infinity] as [Float], [2, 3])) == """
        Tensor(float32 [2, 3] on cpu)
        [[1.0000, 2.5000, 3.0000],
         [4.0000,    nan,   -inf]]
        """)
    #expect(
      text(try Tensor([1, -20, 300] as [Int32])) == """
        Tensor(int32 [3] on cpu)
        [  1, -20, 300]
        """)
    #expect(
      text(try Tensor([true, false], [2, 1])) == """
        Tensor(bool [2, 1] on cpu)
        [[ true],
         [false]]
        """)
  }

  @Test func wholeNumbersAndLargeSpansHaveTheirForms() throws {
    #expect(text(try Tensor([1, -2, 0.0])).hasSuffix("\n[ 1.0, -2.0,  0.0]"))
    #expect(text(try Tensor([-0.0, .nan])).hasSuffix("\n[-0.0,  nan]"))
    #expect(
      text(try Tensor([1e-7, 1.5, -3e5])).hasSuffix("\n[ 1.0000e-07,  1.5000e+00, -3.0000e+05]"))
    #expect(text(try Tensor([1e8])).hasSuffix("\n[1.0000e+08]"))
    #expect(text(try Tensor([99_999_999.0])).hasSuffix("\n[99999999.0]"))
    #expect(
      text(try Tensor([Double.leastNonzeroMagnitude, 0]))
        .hasSuffix("\n[4.9407e-324,  0.0000e+00]"))
    #expect(text(try Tensor([Double.greatestFiniteMagnitude])).hasSuffix("\n[1.7977e+308]"))
    #expect(text(try Tensor([Int64.min])).hasSuffix("\n[-9223372036854775808]"))
    #expect(text(try Tensor([1.1]).cast(to: .bfloat16)).hasSuffix("\n[1.1016]"))
  }

  @Test func scalarsAndEmptyTensorsHaveNoColumns() throws {
    #expect(text(try Tensor([2.5], [])) == "Tensor(float64 [] on cpu)\n2.5000")
    #expect(text(try Tensor.zeros([2, 0])) == "Tensor(float32 [2, 0] on cpu)\n[]")
  }

  @Test func blocksAreSetApart() throws {
    #expect(
      text(try Tensor.range(8).reshaped([2, 2, 2])) == """
        Tensor(int32 [2, 2, 2] on cpu)
        [[[0, 1],
          [2, 3]],

         [[4, 5],
          [6, 7]]]
        """)
  }

  @Test func longAxesAreCut() throws {
    #expect(
      text(try Tensor.range(2002).reshaped([2, 1001])) == """
        Tensor(int32 [2, 1001] on cpu)
        [[   0,    1,    2, ...,  998,  999, 1000],
         [1001, 1002, 1003, ..., 1999, 2000, 2001]]
        """)
    #expect(
      text(try Tensor.range(4000, dtype: .int64).reshaped([1000, 4])) == """
        Tensor(int64 [1000, 4] on cpu)
        [[   0,    1,    2,    3],
         [   4,    5,    6,    7],
         [   8,    9,   10,   11],
         ...,
         [3988, 3989, 3990, 3991],
         [3992, 3993, 3994, 3995],
         [3996, 3997, 3998, 3999]]
        """)
    // A broadcast tensor of many elements is not materialised.
    #expect(
      text(try Tensor.ones([1 << 20, 1 << 20])).hasSuffix(" [1.0, 1.0, 1.0, ..., 1.0, 1.0, 1.0]]"))
  }

  @Test func longRowsAreBroken() throws {
    let lines = text(try Tensor.range(100)).split(separator: "\n")
    #expect(
      lines[1] == "[ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17, 18,")
    #expect(lines.last == " 95, 96, 97, 98, 99]")
    #expect(lines.allSatisfy { $0.count <= 80 })
  }

  @Test func errorsNameTensorsWithoutTheirElements() throws {
    #expect(try Tensor.ones([2, 3]).summary == "Tensor(float32 [2, 3])")
    let x = try Tensor.ones([2])
    let error = #expect(throws: TensorError.self) { try x.rmsNorm(weight: .ones([3])) }
    #expect(
      error.map { "\($0)" }
        == "weight is Tensor(float32 [3]); it must be float32 [2], as the operand Tensor(float32 [2])"
    )
  }

  @Test(.onGPU) func elementsOfAGPUAreCopied() throws {
    #expect(
      text(try Tensor([1, 2] as [Float]).moved(to: GPU.device)) == """
        Tensor(float32 [2] on cuda:0)
        [1.0, 2.0]
        """)
    let large = try Tensor.range(2002).reshaped([2, 1001])
    #expect(
      text(try large.moved(to: GPU.device)).split(separator: "\n").dropFirst()
        == text(large).split(separator: "\n").dropFirst())
  }
}
