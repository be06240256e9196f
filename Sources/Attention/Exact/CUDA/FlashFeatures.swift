import AttentionCUDAKernels
import AttentionTensors

/// What the kernels of exact attention multiply, as the macro `ELEMENT` has it.
enum FlashElement: String, Hashable, Sendable, CaseIterable {
  case bf16, f16
  /// float32, each number taken apart into two of eleven bits: of TF32, or, by Hopper's own instructions, of
  /// float16.
  case tf32x3
  /// float32, rounded to TF32.
  case tf32

  /// - Returns: `nil` for types without a kernel.
  init?(_ dtype: DType, allowsTF32: Bool) {
    switch dtype {
    case .bfloat16: self = .bf16
    case .float16: self = .f16
    case .float32: self = allowsTF32 ? .tf32 : .tf32x3
    default: return nil
    }
  }

  var definition: String { "ELEMENT=\(rawValue)" }

  /// A kernel that is compiled for nothing but this.
  func kernel(_ name: String, sharedBytes: Int = 0) -> DeviceKernel {
    Self.kernels.value(of: KernelName(name: name, element: self)) {
      DeviceKernel(name, definitions: [definition], sharedBytes: sharedBytes)
    }
  }

  private struct KernelName: Hashable, Sendable {
    let name: String
    let element: FlashElement
  }

  private static let kernels = Remembered<KernelName, DeviceKernel>()

  var isHalf: Bool { self == .bf16 || self == .f16 }
  /// Bytes of a number in memory.
  var size: Int { isHalf ? DType.bfloat16.size : DType.float32.size }
}

/// What the kernels are compiled for, beside their tiles: the macros of `attention/operands.cuh`.
struct FlashFeatures: Hashable, Sendable {
  var element: FlashElement
  var isPacked = false
  var hasKeyMask = false
  /// Scores are divided by the lengths of queries and keys.
  var dividesByLengths = false
  /// What is done to scores before the mask.
  var terms: ScoreTermSet = []
  /// What the bias holds, where there is one.
  var bias: DType?
  /// Whether the gradient of the bias is computed too, from the backward pass's sums.
  var hasBiasGradient = false
  /// Whether all keys of a query have the same bias: one number in memory.
  var hasBiasOfRows = false
  var hasHeadScales = false
  /// Some sequence has queries enough to pay for what is made of the tensors beforehand.
  var isLong = false

  /// Queries from which on float32 is taken apart before kernels read it, which takes a launch a tensor.
  private static let longFrom = 256

  init(_ element: FlashElement) { self.element = element }

  /// What a problem says without its numbers: sequences that are packed count as one.
  init(_ problem: ExactProblem, _ element: FlashElement) {
    self.element = element
    isPacked = problem.packedSequences != nil
    hasKeyMask = problem.hasKeyMask
    dividesByLengths = problem.normalizedGroups == 1
    terms = problem.terms.intersection(.ofScores)
    bias = problem.biasDType
    isLong = problem.queryLength >= Self.longFrom
  }

  init(_ inputs: ExactArguments, _ element: FlashElement) {
    self.init(inputs.problem, element)
    hasKeyMask = inputs.keyMask != nil
    hasBiasOfRows = inputs.bias.map { $0.strides[3] == 0 && $0.shape[3] > 1 } ?? false
    hasHeadScales = inputs.scales != nil
    isLong = inputs.segments.contains { $0.queryCount >= Self.longFrom }
  }

  var hasTerms: Bool { !terms.isEmpty }

  /// Whether kernels with Hopper's own matrix instructions do it: on Hopper, in half precision or long
  /// sequences of float32, where the dimensions are whole blocks of shared memory as those instructions read it.
  func usesWarpgroups(_ columns: TileColumns, _ limits: TileLimits) -> Bool {
    let areBlocks = [columns.keys, columns.values].allSatisfy { [64, 128].contains($0) }
    return limits.capability == FlashTile.hopper && (element.isHalf || element == .tf32x3 && isLong)
      && areBlocks && hasTermsOfHopper
  }

  /// The gradient of a capped score and that of its decay would both need registers that are taken. A bias is
  /// copied in words of 16 bits that begin at even keys, not from one number for all of them, and the planes of
  /// float32 leave it no memory. Its gradient is computed by products that round large scores otherwise than
  /// Hopper's.
  private var hasTermsOfHopper: Bool {
    if terms.isSuperset(of: [.softcap, .logitDecay]) || hasBiasGradient { return false }
    guard let bias else { return !terms.contains(.bias) || element.isHalf }
    return element.isHalf && bias != .float64 && !(bias == .bool && isPacked) && !hasBiasOfRows
  }

  /// Whether the inner loops do nothing but multiply and mask the edges.
  var isPlain: Bool { !isPacked && !hasKeyMask && !dividesByLengths && !hasTerms }

  /// Bytes of what kernels read of a bias for a pair.
  var biasBytes: Int {
    bias.flatMap { Self.biasElement($0) == nil ? nil : $0.size } ?? DType.float32.size
  }

  /// What Hopper's kernels are compiled for beside ``definitions``.
  var hopperDefinitions: [String] {
    [("SOFTCAP", .softcap), ("ALIBI", .alibi), ("BIASED", .bias), ("DECAY", .logitDecay)].map {
      (name: String, term: ScoreTermSet) in Self.flag(name, terms.contains(term))
    }
  }

  private static func flag(_ name: String, _ isSet: Bool) -> String { "\(name)=\(isSet ? 1 : 0)" }

  /// The names that `attention/terms.cuh` has for what a bias holds; float32 goes without.
  private static func biasElement(_ dtype: DType) -> String? {
    switch dtype {
    case .bfloat16: "bf16"
    case .float16: "f16"
    case .float64: "f64"
    case .bool: "flag"
    case .float32, .int32, .int64: nil
    }
  }

  var definitions: [String] {
    [
      element.definition, Self.flag("PACKED", isPacked), Self.flag("KEY_MASK", hasKeyMask),
      Self.flag("COSINE", dividesByLengths), Self.flag("TERMS", hasTerms),
      Self.flag("HEAD_SCALES", hasHeadScales),
    ] + (bias.flatMap(Self.biasElement).map { ["BIAS=\($0)"] } ?? [])
  }
}

/// Rows of a tile and the warps that share them.
struct TileRows: Hashable, Sendable {
  var queries: Int
  var keys: Int
  var warps = 4
  /// Blocks that share a multiprocessor.
  var blocks = 2

  init(_ queries: Int, _ keys: Int, warps: Int = 4, blocks: Int = 2) {
    (self.queries, self.keys, self.warps, self.blocks) = (queries, keys, warps, blocks)
  }

  var threads: Int { warps * warp_threads }

  var definitions: [String] {
    ["QUERY_ROWS=\(queries)", "KEY_ROWS=\(keys)", "WARPS=\(warps)", "BLOCKS=\(blocks)"]
  }
}

/// The two dimensions of a problem as kernels have them.
struct TileColumns: Hashable, Sendable {
  /// Multiples of 16.
  let keys: Int
  let values: Int
  /// Bytes of a number in shared memory.
  let numberBytes: Int

  init(keyDimension: Int, valueDimension: Int, _ element: FlashElement) {
    keys = FlashTile.padded(keyDimension)
    values = FlashTile.padded(valueDimension)
    numberBytes = element.size
  }

  var widest: Int { max(keys, values) }

  /// Shared memory of a block of the forward or backward pass.
  ///
  /// - Parameters:
  ///   - owner: what the block owns, of `attention/layout.h`.
  ///   - owned: rows that it owns.
  ///   - passing: rows of a tile that passes.
  func sharedBytes(
    _ owner: Int, owned: Int, passing: Int, stages: Int, _ features: FlashFeatures,
    usesWarpgroups: Bool
  ) -> Int {
    func count(_ holds: Bool) -> Int { holds ? 1 : 0 }
    let usesPlanes = usesWarpgroups && !features.element.isHalf
    let ownsKeys = owner == owns_keys_and_values
    let copiesBias = usesWarpgroups && features.terms.contains(.bias)
    return attention_layout(
      owner, owned, passing, keys, values, numberBytes, stages,
      copiesBias
        ? attention_bias_bytes(
          ownsKeys ? passing : owned, ownsKeys ? owned : passing, features.biasBytes) : 0,
      attention_passing_numbers(
        owner, count(features.dividesByLengths || usesPlanes), count(usesPlanes),
        usesWarpgroups && features.terms.contains(.logitDecay) ? (usesPlanes ? 2 : 1) : 0),
      count(usesWarpgroups)
    ).end
  }

  var definitions: [String] { ["KEY_DIMENSION=\(keys)", "VALUE_DIMENSION=\(values)"] }
}
