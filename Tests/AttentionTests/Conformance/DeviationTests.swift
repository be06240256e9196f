import AttentionConformance
import AttentionTensors
import Testing

/// What the conformance cases detect and what they accept.
@Suite struct DeviationTests {
  private let reference = [1, -2, 3, -4, 5, -6, 7, -8].map(Float.init)
  private let bound = Bound(share: 1e-3, remainder: 0)

  private func deviation(_ values: [Float], _ reference: [Float]) throws -> Deviation {
    try Deviation(of: Tensor(values, [2, 4]), from: Tensor(reference, [2, 4]))
  }

  @Test func equalTensorsAreWithinEveryBound() throws {
    let equal = try deviation(reference, reference)
    #expect(equal.difference == 0)
    #expect(equal.isWithin(Bound(share: 0, remainder: 0)))
  }

  @Test func theErrorIsTheRootMeanSquare() throws {
    let off = try deviation(reference.map { $0 + 0.5 }, reference)
    #expect(abs(off.difference - 0.5) < 1e-12)
    #expect(abs(off.size - (204.0 / 8).squareRoot()) < 1e-12)
    #expect(!off.isWithin(bound))
    #expect(off.isWithin(Bound(share: 0.1, remainder: 0)))
    #expect(off.isWithin(Bound(share: 0, remainder: 0.5)))
  }

  @Test func oneWrongElementIsFoundWhereTheMeanHidesIt() throws {
    let count = 1_000_000
    let many = [Float](repeating: 1, count: count)
    var wrong = many
    wrong[123_456] = 1.5
    let off = try Deviation(of: Tensor(wrong, [1000, 1000]), from: Tensor(many, [1000, 1000]))
    #expect(off.difference < 1e-3)
    #expect(off.worst?.index == [123, 456])
    #expect(!off.isWithin(bound))
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func aNumberThatIsNotFiniteIsNeverWithin(value: Float) throws {
    var wrong = reference
    wrong[6] = value
    let off = try deviation(wrong, reference)
    #expect(off.worst?.index == [1, 2])
    #expect(!off.isWithin(Bound(share: 1, remainder: 1e9)))
  }

  @Test func infinityMustBeMetExactly() throws {
    var infinite = reference
    infinite[0] = -.infinity
    #expect(try deviation(infinite, infinite).isWithin(bound))
    #expect(try !deviation(reference, infinite).isWithin(bound))
  }

  @Test func nothingMustBeMetExactly() throws {
    let zeros = [Float](repeating: 0, count: 8)
    var wrong = zeros
    wrong[3] = 1e-30
    #expect(try deviation(zeros, zeros).isWithin(bound))
    #expect(try !deviation(wrong, zeros).isWithin(bound))
  }

  @Test func anotherShapeIsAnError() throws {
    let first = try Tensor(reference, [2, 4])
    let second = try Tensor(reference, [4, 2])
    #expect(throws: TensorError.self) { try Deviation(of: first, from: second) }
  }
}
