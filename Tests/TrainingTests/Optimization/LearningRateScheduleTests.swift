import Testing

@testable import AttentionTraining

@Suite struct LearningRateScheduleTests {
  @Test func warmsUpThenFallsAsACosine() {
    let schedule = LearningRateSchedule(peak: 1, minimum: 0.1, warmupSteps: 4, steps: 104)
    #expect((0..<4).map(schedule.rate) == [0.25, 0.5, 0.75, 1])
    #expect(schedule.rate(at: 4) == 1)
    #expect(abs(schedule.rate(at: 54) - 0.55) < 1e-12)
    // A quarter and three quarters of the way: (1 ± √½) / 2 of the range.
    #expect(abs(schedule.rate(at: 29) - (0.1 + 0.9 * (1 + 0.5.squareRoot()) / 2)) < 1e-12)
    #expect(abs(schedule.rate(at: 79) - (0.1 + 0.9 * (1 - 0.5.squareRoot()) / 2)) < 1e-12)
    #expect(abs(schedule.rate(at: 104) - 0.1) < 1e-12)
    #expect(abs(schedule.rate(at: 1000) - 0.1) < 1e-12)
  }

  @Test func needsNoWarmUpAndNoEnd() {
    #expect(LearningRateSchedule(peak: 2, minimum: 0, warmupSteps: 0, steps: 10).rate(at: 0) == 2)
    let all = LearningRateSchedule(peak: 2, minimum: 0, warmupSteps: 10, steps: 10)
    #expect(all.rate(at: 9) == 2)
    #expect(all.rate(at: 10) == 2)
  }
}
