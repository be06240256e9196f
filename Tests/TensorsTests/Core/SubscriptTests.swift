import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct SubscriptTests {
  /// 0, 1, 2, …
  private let x: Tensor

  init() throws { x = try Tensor.range(24, dtype: .float64).reshaped([2, 3, 4]) }

  private func expect(
    _ actual: Tensor, _ shape: Shape, _ elements: [Double],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    #expect(actual.shape == shape, sourceLocation: sourceLocation)
    #expect(try actual.elements(as: Double.self) == elements, sourceLocation: sourceLocation)
    // A view shares the memory.
    guard case .host(let own) = actual.storage, case .host(let whole) = x.storage else { return }
    #expect(own === whole, sourceLocation: sourceLocation)
  }

  @Test func integersTakeAnAxisAway() throws {
    try expect(x[1, 2, 3], [], [23])
    try expect(x[0, 1], [4], [4, 5, 6, 7])
    try expect(x[-1, -1, -4], [], [20])
    #expect(try x[1].shape == [3, 4])
    try expect(x[.all, 0, 0], [2], [0, 12])
  }

  @Test func rangesKeepIt() throws {
    try expect(x[1, 1..<3, 0], [2], [16, 20])
    try expect(x[0, 1...2, 3], [2], [7, 11])
    try expect(x[0, (-2)..., 3], [2], [7, 11])
    try expect(x[0, 0, ..<(-2)], [2], [0, 1])
    try expect(x[0, 0, ...(-3)], [2], [0, 1])
    try expect(x[0, 0, (-3)...(-2)], [2], [1, 2])
    try expect(x[0, 0, 2..<2], [0], [])
    #expect(try x[0..<2, .all].shape == x.shape)
  }

  @Test func newAxesAndEllipsesStandForThemselves() throws {
    #expect(try x[.newAxis].shape == [1, 2, 3, 4])
    #expect(try x[.all, .newAxis, 1].shape == [2, 1, 4])
    #expect(try x[..., .newAxis].shape == [2, 3, 4, 1])
    #expect(try x[...].shape == x.shape)
    try expect(x[..., 0], [2, 3], [0, 4, 8, 12, 16, 20])
    try expect(x[.ellipsis, 0], [2, 3], [0, 4, 8, 12, 16, 20])
    try expect(x[1, .ellipsis, 1..<2], [3, 1], [13, 17, 21])
    try expect(x[1, 2, .ellipsis, 3], [], [23])
    let place = 1
    try expect(x[place, place, place], [], [17])
  }

  @Test func gradientsFlowToWhatIsSelected() throws {
    for select: ([Tensor]) throws -> Tensor in [
      { try $0[0][1, 1...].squared() }, { try $0[0][..., 0, .newAxis].squared() },
      { try $0[0][-1, .all, 1..<3].squared() },
    ] {
      try expectDerivatives(of: [normal([2, 3, 4], 1)], "subscript", select)
    }
  }

  @Test func whatIsNotThereIsAnError() throws {
    func message(_ body: () throws -> Tensor) -> String {
      do { return try body().summary } catch { return "\(error)" }
    }
    #expect(message { try x[2] } == "indices[0] is 2; it must be in -2..<2")
    #expect(message { try x[0, -4] } == "indices[1] is -4; it must be in -3..<3")
    #expect(message { try x[.newAxis, 0, Int.min] }.hasPrefix("indices[2] is -9223372036854775808"))
    #expect(
      message { try x[0, 1..<4] }
        == "indices[1] is 1..<4; it must be within 0..<3, negative numbers counted from the end")
    #expect(message { try x[0...2] }.hasPrefix("indices[0] is 0...2; it must be within 0..<2"))
    #expect(message { try x[...Int.max] }.hasPrefix("indices[0] is 0...9223372036854775807"))
    #expect(message { try x[3...] }.hasPrefix("indices[0] is 3..<; it must be within 0..<2"))
    #expect(
      message { try x[0, 0, 0, 0] }
        == "indices is 4 of axes; it must be at most 3 for shape [2, 3, 4]")
    #expect(
      message { try x[..., .ellipsis] }
        == "indices[1] is a second ellipsis; it must be the only one")
    #expect(
      message { try Tensor.zeros([0])[0] }
        == "indices[0] is 0; it must be a range, as the axis is empty")
  }

  @Test func extentsAreAskedForWithoutATrap() throws {
    #expect(try x.shape.extent(-1) == 4)
    #expect(try x.shape.extent(1) == 3)
    #expect(
      throws: TensorError.invalidArgument(
        "axis", was: "7", mustBe: "in -3..<3 for shape [2, 3, 4]")
    ) { try x.shape.extent(7) }
    #expect(throws: TensorError.self) { try x.extent(7) }
  }

  @Test func anAxisThatAShapeLacksEndsWithAMessage() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      _ = Shape([2, 3])[7]
    }
    let text = result.map { String(decoding: $0.standardErrorContent, as: UTF8.self) } ?? ""
    #expect(text.contains("axis 7 of shape [2, 3]"))
  }

  @Test func axesOfExtentOneAreSqueezed() throws {
    let y = try x.unsqueezed(0).unsqueezed(-1)
    #expect(try y.squeezed().shape == [2, 3, 4])
    try expect(y[.all, 0, 0].squeezed(), [4], [0, 1, 2, 3])
    try expectDerivatives(of: [normal([1, 3, 1], 1)]) { try $0[0].squeezed().squared() }
  }
}
