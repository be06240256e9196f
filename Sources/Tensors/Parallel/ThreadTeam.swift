import AttentionCLibrary
import AttentionCPUKernels
import Dispatch
import Synchronization

/// Threads that stay awake for a while after a loop, because the next loop usually follows soon:
/// waking a thread takes longer than many a loop.
///
/// One loop at a time. A loop that finds the team at work, as one inside another does, is left to the
/// thread that calls.
final class ThreadTeam: Sendable {
  static let shared = ThreadTeam()

  /// How long a thread looks out for the next loop before it sleeps. Not static: what members do between
  /// loops, when the process may be forked, takes no lock, as the first use of a global does.
  private let patience = Duration.microseconds(100)

  /// What the members work on. Written by the caller while the loop is closed, read by members that
  /// have entered it.
  private struct Loop {
    var count = 0
    /// A pointer to the caller's variable that holds the body. Members get at it in place: none of
    /// them may own the body when the caller's loop returns.
    var body: UnsafePointer<(Int) -> Void>?
    var forced: InstructionSet?
    /// The most members that may enter.
    var seats = 0
  }

  /// Taken by the caller of a loop.
  private let isBusy = Atomic<Bool>(false)
  private nonisolated(unsafe) var loop = Loop()
  /// Counts the loops: a member that sees another number than before has something to enter.
  private let generation = Atomic<Int>(0)
  /// How many members are inside the loop; ``closed`` when nobody may enter.
  private let inside = Atomic<Int>(ThreadTeam.closed)
  private static let closed = -1
  private let next = Atomic<Int>(0)
  /// Grows as loops ask for more, by the caller.
  private nonisolated(unsafe) var members: [Member] = []

  /// Calls `body` for each index below `count` on this thread and up to `helpers` others. False if
  /// the team is at work: nothing was done then.
  func run(_ count: Int, helpers: Int, _ body: (Int) -> Void) -> Bool {
    guard isBusy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged
    else { return false }
    defer { isBusy.store(false, ordering: .releasing) }
    withoutActuallyEscaping(body) { body in
      withUnsafePointer(to: body) { place in
        loop = Loop(
          count: count, body: place, forced: InstructionSet.forced, seats: helpers)
        next.store(0, ordering: .relaxed)
        inside.store(0, ordering: .releasing)
        call(helpers)
        work(count, body)
        close()
      }
    }
    return true
  }

  /// Tells `count` members that there is a loop, and wakes those that sleep.
  private func call(_ count: Int) {
    while members.count < count {
      let member = Member(team: self, seen: generation.load(ordering: .relaxed))
      guard member.start() else { break }
      members.append(member)
    }
    generation.wrappingAdd(1, ordering: .sequentiallyConsistent)
    for member in members.prefix(count) { member.wake() }
  }

  /// Starts new members for the loops to come. The old ones are not in this process any more, which was
  /// forked while no loop ran.
  func forgetMembers() { members = [] }

  /// Waits until all members have left, and lets nobody in any more.
  private func close() {
    while !inside.compareExchange(
      expected: 0, desired: Self.closed, ordering: .acquiringAndReleasing
    ).exchanged {
      // Where threads share processors, the one that is waited for may need this one's.
      if members.count < Threads.available { cpu_rest() } else { sched_yield() }
    }
  }

  /// Takes indices until there are none.
  private func work(_ count: Int, _ body: (Int) -> Void) {
    while true {
      let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
      guard index < count else { return }
      body(index)
    }
  }

  /// Takes part in the loop, if it is still open and has a seat.
  private func enter() {
    var count = inside.load(ordering: .relaxed)
    while true {
      guard count != Self.closed else { return }
      let (exchanged, original) = inside.compareExchange(
        expected: count, desired: count + 1, ordering: .acquiringAndReleasing)
      if exchanged { break }
      count = original
    }
    defer { inside.wrappingSubtract(1, ordering: .acquiringAndReleasing) }
    guard count < loop.seats, let body = loop.body else { return }
    InstructionSet.$forced.withValue(loop.forced) { work(loop.count, body.pointee) }
  }

  /// Waits for a loop that is not the one last seen.
  private func wait(_ member: Member) {
    let clock = ContinuousClock()
    let start = clock.now
    while generation.load(ordering: .acquiring) == member.seen {
      cpu_rest()
      if clock.now - start > patience { member.sleep(while: generation) }
    }
    member.seen = generation.load(ordering: .acquiring)
  }

  fileprivate func serve(_ member: Member) -> Never {
    while true {
      wait(member)
      enter()
    }
  }
}

/// One thread of a team.
private final class Member: @unchecked Sendable {
  private let team: ThreadTeam
  /// The loop last seen. Used by the thread alone.
  var seen: Int
  private let isAsleep = Atomic<Bool>(false)
  private let alarm = DispatchSemaphore(value: 0)

  init(team: ThreadTeam, seen: Int) {
    self.team = team
    self.seen = seen
  }

  /// Starts the thread; false if the system has none to give.
  func start() -> Bool { startThread { self.team.serve(self) } }

  /// Sleeps while `generation` is the one last seen.
  func sleep(while generation: borrowing Atomic<Int>) {
    isAsleep.store(true, ordering: .sequentiallyConsistent)
    if generation.load(ordering: .sequentiallyConsistent) != seen,
      isAsleep.exchange(false, ordering: .sequentiallyConsistent)
    {
      return
    }
    // Either still asleep, or an alarm is on its way.
    alarm.wait()
  }

  func wake() {
    if isAsleep.exchange(false, ordering: .sequentiallyConsistent) { alarm.signal() }
  }
}
