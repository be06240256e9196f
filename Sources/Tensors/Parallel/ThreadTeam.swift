import AttentionCLibrary
import AttentionCPUKernels
import Dispatch
import Synchronization

/// Threads that spin for a while after a loop, because the next loop usually follows soon and waking a
/// thread takes longer than many a loop.
///
/// One loop runs at a time. A loop started while the team is busy, such as a nested one, runs on the calling
/// thread.
final class ThreadTeam: Sendable {
  static let shared = ThreadTeam()

  /// How long a thread spins before it sleeps. An instance property on purpose: between loops, when the
  /// process may fork, members take no lock, and the first use of a static takes one.
  private let patience = Duration.microseconds(100)

  /// The current loop. Written by the caller while the loop is closed, read by members that have entered
  /// it.
  private struct Loop {
    var count = 0
    /// Points to the caller's variable that holds the body. Members call it in place, so that none of them
    /// retains the body when the caller's loop returns.
    var body: UnsafePointer<(Int) -> Void>?
    var forced: InstructionSet?
    /// The most members that may enter.
    var seats = 0
  }

  /// Held by the caller of a loop.
  private let isBusy = Atomic<Bool>(false)
  private nonisolated(unsafe) var loop = Loop()
  /// Counts the loops: a member that sees a new number has a loop to enter.
  private let generation = Atomic<Int>(0)
  /// The number of members inside the loop; ``closed`` while none may enter.
  private let inside = Atomic<Int>(ThreadTeam.closed)
  private static let closed = -1
  private let next = Atomic<Int>(0)
  /// Grown by the caller as loops need more.
  private nonisolated(unsafe) var members: [Member] = []

  /// Calls `body` for each index below `count` on this thread and at most `helpers` others. Returns false,
  /// having called nothing, if the team is busy.
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

  /// Announces a loop to `count` members and wakes those that sleep.
  private func call(_ count: Int) {
    while members.count < count {
      let member = Member(team: self, seen: generation.load(ordering: .relaxed))
      guard member.start() else { break }
      members.append(member)
    }
    generation.wrappingAdd(1, ordering: .sequentiallyConsistent)
    for member in members.prefix(count) { member.wake() }
  }

  /// Forgets the members, so that the next loop starts new ones: in a process forked while no loop ran, the
  /// old threads do not exist.
  func forgetMembers() { members = [] }

  /// Waits until all members have left, then lets no one in.
  private func close() {
    while !inside.compareExchange(
      expected: 0, desired: Self.closed, ordering: .acquiringAndReleasing
    ).exchanged {
      // Where threads share processors, the member may need this one's.
      if members.count < Threads.available { cpu_rest() } else { sched_yield() }
    }
  }

  /// Takes indices until none are left.
  private func work(_ count: Int, _ body: (Int) -> Void) {
    while true {
      let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
      guard index < count else { return }
      body(index)
    }
  }

  /// Joins the loop if it is open and has a free seat.
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

  /// Waits for a loop other than the last one seen.
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

/// A thread of a team.
private final class Member: @unchecked Sendable {
  private let team: ThreadTeam
  /// The last loop seen. Accessed by this thread only.
  var seen: Int
  private let isAsleep = Atomic<Bool>(false)
  private let alarm = DispatchSemaphore(value: 0)

  init(team: ThreadTeam, seen: Int) {
    self.team = team
    self.seen = seen
  }

  /// Starts the thread; false if the system cannot.
  func start() -> Bool { startThread { self.team.serve(self) } }

  /// Sleeps while `generation` is the one last seen.
  func sleep(while generation: borrowing Atomic<Int>) {
    isAsleep.store(true, ordering: .sequentiallyConsistent)
    if generation.load(ordering: .sequentiallyConsistent) != seen,
      isAsleep.exchange(false, ordering: .sequentiallyConsistent)
    {
      return
    }
    // Either still asleep, or a signal is on its way.
    alarm.wait()
  }

  func wake() {
    if isAsleep.exchange(false, ordering: .sequentiallyConsistent) { alarm.signal() }
  }
}
