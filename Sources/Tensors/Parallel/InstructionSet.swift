import AttentionCLibrary
import AttentionCPUKernels

/// The vector instructions that CPU kernels use: by default the best that the processor supports.
public enum InstructionSet: String, CaseIterable, Hashable, Sendable {
  case portable, avx2, avx512, avx512bf16, neon

  /// The instruction set for the current task: what ``withCurrent(_:_:)`` set, or the environment
  /// variable `ATTENTION_ISA`, or the best that the processor supports.
  public static var current: InstructionSet { forced ?? initial }

  /// Runs `body` with another instruction set. For tests; `set` must be in ``supported``.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the processor does not support `set`, or
  ///   the error of `body`.
  public static func withCurrent<R>(_ set: InstructionSet, _ body: () throws -> R) throws -> R {
    guard supported.contains(set) else {
      throw TensorError.invalidArgument(
        "instruction set", was: set.rawValue,
        mustBe: "one of \(supported.map(\.rawValue).joined(separator: ", "))")
    }
    return try $forced.withValue(set, operation: body)
  }

  /// The sets that this processor supports, slowest first.
  public static let supported = allCases.filter { cpu_supports($0.code) != 0 }

  /// The table of the C kernels.
  public var kernels: cpu_kernels { Self.tables[Int(code.rawValue)] }

  /// Set by ``withCurrent(_:_:)``. Parallel loops pass it on to their threads.
  @TaskLocal static var forced: InstructionSet?

  private static let tables = allCases.map { cpu_kernels_for($0.code).pointee }

  private static let initial: InstructionSet = {
    if let text = getenv("ATTENTION_ISA"),
      let set = InstructionSet(rawValue: String(cString: text)), supported.contains(set)
    {
      return set
    }
    return supported.last ?? .portable
  }()

  private var code: cpu_instruction_set {
    switch self {
    case .portable: CPU_PORTABLE
    case .avx2: CPU_AVX2
    case .avx512: CPU_AVX512
    case .avx512bf16: CPU_AVX512_BF16
    case .neon: CPU_NEON
    }
  }
}
