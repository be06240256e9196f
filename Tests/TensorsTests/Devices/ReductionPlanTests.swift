import Testing

@testable import AttentionTensors

/// How sums are split, without a GPU.
struct ReductionPlanTests {
  @Test func everyElementIsInOnePiece() {
    for isAcross in [false, true] {
      for results in [1, 3, 32, 1000, 200_000] {
        for count in [0, 1, 7, 255, 256, 4096, 70_001, 10_000_000] {
          let plan = ReductionPlan(results: results, count: count, isAcross: isAcross)
          let label = "\(results) results of \(count) \(plan)"
          #expect(plan.pieces >= 1 && plan.pieces <= 65_535, "\(label)")
          #expect(plan.pieces * plan.piece >= count, "\(label)")
          #expect((plan.pieces - 1) * plan.piece < max(1, count), "\(label)")
          #expect(plan.lanes * plan.blockResults == ReductionPlan.threads, "\(label)")
          #expect(plan.lanes.nonzeroBitCount == 1, "\(label)")
          #expect(plan.blocks * plan.blockResults >= results, "\(label)")
          #expect(plan.piece % 4 == 0, "\(label)")
        }
      }
    }
  }

  /// A long sum with one result fills the device; many short ones are not split.
  @Test func piecesFollowTheShape() {
    #expect(ReductionPlan(results: 1, count: 10_000_000, isAcross: false).pieces > 500)
    #expect(ReductionPlan(results: 100_000, count: 64, isAcross: false).pieces == 1)
    #expect(ReductionPlan(results: 1024, count: 16_384, isAcross: true).pieces > 8)
  }
}
