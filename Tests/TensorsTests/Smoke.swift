import Testing

@testable import Tensors

@Test func productGradientsMatchHandComputed() throws {
  let a = try Tensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3]).tracked()
  let b = try Tensor([1, 0, 2, -1, 0.5, 3] as [Float], [3, 2]).tracked()
  let c = try a.matmul(b)
  #expect(try c.elements(as: Float.self) == [6.5, 7, 17, 13])
  let gradients = try c.sum().gradients(of: [a, b])
  #expect(try gradients[0].elements(as: Float.self) == [1, 1, 3.5, 1, 1, 3.5])
  #expect(try gradients[1].elements(as: Float.self) == [5, 5, 7, 7, 9, 9])
}
