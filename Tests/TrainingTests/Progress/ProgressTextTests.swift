import Testing

@testable import AttentionTraining

@Suite struct ProgressTextTests {
  private let progress = StepProgress(
    step: 120, steps: 600, bitsPerByte: 2.7131, tokensPerSecond: 12_345,
    memoryBytes: 210_000_000, timeLeft: .seconds(83))

  @Test func aLineHasAllFigures() {
    #expect(
      ProgressText.line(progress)
        == "step 120/600  2.713 bits/byte  12.3k tokens/s  210MB  1:23 left")
  }

  @Test(arguments: [0, 1, 10, 60, 80, 100, 300])
  func theBarFitsTheTerminal(columns: Int) {
    let bar = ProgressText.bar(progress, columns: columns)
    #expect(bar.count <= max(0, columns - 1))
    if columns >= 80 {
      let drawn = bar.filter { $0 == "━" || $0 == "┄" }.count
      #expect(drawn >= 8)
      #expect(bar.filter { $0 == "━" }.count == drawn * 120 / 600)
      #expect(bar.hasSuffix("1:23 left"))
    }
  }
}
