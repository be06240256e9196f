import Testing

@testable import AttentionTensors

@Suite struct RowTeamsTests {
  @Test func shortRowsShareABlock() {
    let teams = RowTeams(rows: 17, length: 64)
    #expect(teams.rowThreads == 32 && teams.rowsPerBlock == 8 && teams.blocks == 3)
    #expect(RowTeams(rows: 16, length: 1024).blocks == 2)
    #expect(RowTeams(rows: 0, length: 64).blocks == 0)
  }

  @Test func longRowsHaveABlockEach() {
    let teams = RowTeams(rows: 17, length: 1025)
    #expect(teams.rowThreads == 256 && teams.rowsPerBlock == 1 && teams.blocks == 17)
  }

  @Test func sumsOfTheLongestRowFitInEverySharedMemory() {
    let smallest = 48 << 10
    for length in [DeviceRMSNorm.longestRow, 1024, 1] {
      let teams = RowTeams(rows: 1, length: length)
      let sums = teams.rowsPerBlock * length * DType.float32.size
      #expect(sums + RowTeams.sharedBytes <= smallest, "rows of \(length)")
    }
  }
}
