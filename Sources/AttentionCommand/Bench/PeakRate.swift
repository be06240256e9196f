import AttentionCPUKernels
import Synchronization
import AttentionTensors
import AttentionTraining

/// The measured ceilings that rates are compared with, on all threads.
struct Ceilings: Encodable {
  /// Multiply-adds in registers, in operations per second.
  let float32: Double
  /// Dot products of bfloat16 pairs in registers, in operations per second; nil if the CPU has none.
  let bfloat16: Double?
  /// Bytes per second of memory larger than the caches, read once.
  let readBandwidth: Double

  static func measure() throws -> Ceilings {
    Ceilings(
      float32: PeakRate.measure(), bfloat16: PeakRate.measureBFloat16(),
      readBandwidth: try PeakRate.measureRead())
  }
}

/// Measures the machine's peak rates.
enum PeakRate {
  /// Many short measurements: the best is an undisturbed one.
  private static let rounds = 400_000
  private static let repetitions = 60

  /// float32 operations per second, the best measurement.
  static func measure() -> Double {
    let kernels = InstructionSet.current.kernels
    // Every thread has its own factor, and the sum is used, so that nothing can be optimised away.
    return rate(operations: rounds * kernels.operations_per_round, repetitions) { thread in
      kernels.multiply_adds(rounds, 0.5 + 1e-3 * Float(thread), 1)
    }
  }

  /// Operations per second of bfloat16 dot products.
  static func measureBFloat16() -> Double? {
    let kernels = InstructionSet.current.kernels
    guard let dotPairs = kernels.bf16.dot_pairs else { return nil }
    return rate(operations: 2 * rounds * kernels.operations_per_round, repetitions) { thread in
      dotPairs(rounds, BFloat16(Float(thread) + 0.5).bitPattern, BFloat16(Float(1)).bitPattern)
    }
  }

  /// Bytes per second that all threads together read.
  static func measureRead() throws -> Double {
    let kernels = InstructionSet.current.kernels
    let count = readBytes / MemoryLayout<Float>.size / Threads.count
    let memory = try Scratch(floats: count * Threads.count)
    memory.base.update(repeating: 1, count: count * Threads.count)
    return rate(operations: count * MemoryLayout<Float>.size, readRepetitions) { thread in
      kernels.sum(count, memory.base + thread * count)
    }
  }

  /// Bytes per second that all threads together read and write in a copy.
  static func measureCopy() throws -> Double {
    let count = readBytes / MemoryLayout<Float>.size / Threads.count / 2
    let memory = try Scratch(floats: 2 * count * Threads.count)
    memory.base.update(repeating: 1, count: 2 * count * Threads.count)
    return rate(operations: 2 * count * MemoryLayout<Float>.size, readRepetitions) { thread in
      let target = memory.base + 2 * thread * count
      target.update(from: target + count, count: count)
      return target[count - 1]
    }
  }

  /// Exponentials per second of vectors in the first-level cache.
  static func measureExponentials() throws -> Double {
    let kernels = InstructionSet.current.kernels
    let memory = try Scratch(floats: 2 * exponentials * Threads.count)
    memory.base.update(repeating: -1, count: 2 * exponentials * Threads.count)
    return rate(operations: exponentials * exponentialRounds, repetitions) { thread in
      let source = memory.base + 2 * thread * exponentials
      for _ in 0..<exponentialRounds {
        kernels.unary_f32(CPU_EXP, exponentials, source, source + exponentials)
      }
      return source[exponentials]
    }
  }

  /// Elements of vectors in the first-level cache, and the number of passes over them.
  private static let exponentials = 2048
  private static let exponentialRounds = 2000

  /// More than the caches hold.
  private static let readBytes = 512 << 20
  private static let readRepetitions = 9

  /// The best rate of `body` on each thread, with `operations` per call.
  private static func rate(
    operations: Int, _ repetitions: Int, _ body: (_ thread: Int) -> Float
  ) -> Double {
    let threads = Threads.count
    let sink = Atomic<UInt32>(0)
    let seconds = (0..<repetitions).map { _ in
      Stopwatch.seconds {
        Threads.forEach(threads) { thread in
          sink.wrappingAdd(body(thread).bitPattern, ordering: .relaxed)
        }
      }
    }
    return Double(operations * threads) / (seconds.min() ?? .infinity)
  }
}

/// Measures elapsed time.
enum Stopwatch {
  static func seconds(_ body: () throws -> Void) rethrows -> Double {
    let clock = ContinuousClock()
    return try clock.measure(body).seconds
  }
}
