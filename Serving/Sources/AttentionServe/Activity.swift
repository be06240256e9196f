import Synchronization

/// How many answers are being made or sent.
final class Activity: Sendable {
  private let count = Atomic<Int>(0)

  var isIdle: Bool { count.load(ordering: .acquiring) == 0 }

  func begin() { count.add(1, ordering: .acquiringAndReleasing) }

  func end() { count.subtract(1, ordering: .acquiringAndReleasing) }
}
