import Testing

@testable import AttentionCommand

@Suite struct WindowLimitsTests {
  @Test func limitsAndNoLimits() throws {
    let window = try WindowLimits(argument: "128,0")
    #expect(window.left == 128 && window.right == 0)
    let open = try WindowLimits(argument: "all,7")
    #expect(open.left == nil && open.right == 7)
  }

  @Test(arguments: ["", "1", "1,", ",1", "1,2,3", "-1,0", "a,b", "1 ,2", "ALL,1"])
  func everythingElseIsRefused(text: String) {
    let error = #expect(throws: CommandError.self) { _ = try WindowLimits(argument: text) }
    #expect(error?.description.contains("LEFT,RIGHT") == true)
  }
}
