import Synchronization
import Tensors
import Training

/// The ceiling that rates are compared with: multiply-adds in registers on all threads.
enum PeakRate {
  /// Short measurements, many of them: the best is one that nothing disturbed.
  private static let rounds = 400_000
  private static let repetitions = 60

  /// Float32 operations a second, the best of the measurements.
  static func measure() -> Double {
    let kernels = InstructionSet.current.kernels
    let threads = Threads.count
    let operations = Double(rounds) * Double(kernels.operations_per_round) * Double(threads)
    let sink = Atomic<UInt32>(0)
    let seconds = (0..<repetitions).map { _ in
      Stopwatch.seconds {
        Threads.forEach(threads) { thread in
          // Every thread has its own factor, and the sum is kept: nothing can be left out.
          let sum = kernels.multiply_adds(rounds, 0.5 + 1e-3 * Float(thread), 1)
          sink.wrappingAdd(sum.bitPattern, ordering: .relaxed)
        }
      }
    }
    return operations / (seconds.min() ?? .infinity)
  }
}

/// The time that something takes.
enum Stopwatch {
  static func seconds(_ body: () throws -> Void) rethrows -> Double {
    let clock = ContinuousClock()
    return try clock.measure(body).seconds
  }
}
