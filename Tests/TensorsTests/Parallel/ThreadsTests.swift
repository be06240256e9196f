import AttentionCLibrary
import Synchronization
import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct ThreadsTests {
  @Test func everyIndexIsVisitedOnce() {
    for count in [0, 1, 2, 7, 1000] {
      for threads in [1, 3, 16] {
        let visits = Mutex([Int](repeating: 0, count: count))
        withThreads(threads) {
          Threads.forEach(count) { index in visits.withLock { $0[index] += 1 } }
        }
        #expect(visits.withLock { $0.allSatisfy { $0 == 1 } }, "\(count) on \(threads)")
      }
    }
    Threads.forEach(-3) { _ in Issue.record("there is no index below -3") }
  }

  @Test func blocksOfRowsCoverAllRows() {
    for (rows, width) in [(0, 5), (1, 0), (100_000, 1), (10, 5000), (3, 100_000)] {
      let ranges = Mutex<[Range<Int>]>([])
      Threads.forEachRows(rows, width: width) { block in ranges.withLock { $0.append(block) } }
      let sorted = ranges.withLock { $0.sorted { $0.lowerBound < $1.lowerBound } }
      #expect(sorted.flatMap { $0 }.elementsEqual(0..<rows), "\(rows) of \(width)")
    }
  }

  @Test func theFirstFailureIsThrown() {
    struct Failure: Error, Equatable { let index: Int }
    for threads in [1, 4] {
      #expect(throws: Failure(index: 3)) {
        try withThreads(threads) {
          try Threads.tryForEach(100) { if $0 % 10 == 3 { throw Failure(index: $0) } }
        }
      }
    }
  }

  @Test func loopsMayBeNested() {
    let total = Atomic<Int>(0)
    Threads.forEach(10) { _ in
      Threads.forEach(10) { total.wrappingAdd($0, ordering: .relaxed) }
    }
    #expect(total.load(ordering: .relaxed) == 450)
  }

  @Test func loopsFromManyThreadsAtOnce() async {
    let total = await withTaskGroup(of: Int.self) { group in
      for task in 0..<8 {
        group.addTask {
          let sum = Atomic<Int>(0)
          for _ in 0..<200 {
            Threads.forEach(5) { sum.wrappingAdd($0 + task, ordering: .relaxed) }
          }
          return sum.load(ordering: .relaxed)
        }
      }
      return await group.reduce(0, +)
    }
    #expect(total == 200 * (8 * 10 + 5 * 28))
  }

  @Test func threadsThatWentToSleepComeBack() {
    withThreads(4) {
      for _ in 0..<20 {
        let visits = Atomic<Int>(0)
        Threads.forEach(40) { _ in visits.wrappingAdd(1, ordering: .relaxed) }
        #expect(visits.load(ordering: .relaxed) == 40)
        usleep(2_000)
      }
    }
  }

  @Test func aLoopLetsGoOfWhatItsBodyHolds() {
    final class Held: Sendable {}
    weak var left: Held?
    withThreads(4) {
      for _ in 0..<100 {
        let held = Held()
        left = held
        Threads.forEach(8) { _ in withExtendedLifetime(held) {} }
      }
    }
    #expect(left == nil)
  }

  @Test(arguments: InstructionSet.supported)
  func forcedInstructionsReachTheThreadsOfALoop(_ set: InstructionSet) throws {
    try InstructionSet.withCurrent(set) {
      let wrong = Atomic<Int>(0)
      withThreads(4) {
        Threads.forEach(64) { _ in
          if InstructionSet.current != set { wrong.wrappingAdd(1, ordering: .relaxed) }
        }
      }
      #expect(wrong.load(ordering: .relaxed) == 0)
    }
  }

  @Test func missingInstructionsAreAnError() throws {
    #expect(InstructionSet.supported.first == .portable)
    for set in InstructionSet.allCases where !InstructionSet.supported.contains(set) {
      #expect(throws: TensorError.self) { try InstructionSet.withCurrent(set) {} }
    }
  }
}
