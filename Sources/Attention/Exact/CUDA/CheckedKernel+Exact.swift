import AttentionCUDA
import AttentionTensors

extension CheckedKernel {
  /// Kernels of exact attention, each in the tile that its problem has on a device.
  package static let exact: [CheckedKernel] =
    FlashUse.forward.flatMap(\.forwardKernels) + FlashUse.backward.flatMap(\.backwardKernels)
    + FlashUse.biasGradients.flatMap(\.biasGradientKernels)
    + each("attention/planes.cu", "d64", ["DIMENSION=64"], on: [90])
    + element("rows", .bf16) + element("lengths", .f16) + element("unit_gradient", .bf16)
    + element("merge", .tf32x3, isHot: false)
    + each("attention/decay.cu", "backward", ["BACKWARD=1"], on: [80])
    + each("attention/key_words.cu", "all", [], on: [90])

  private static func element(_ name: String, _ element: FlashElement, isHot: Bool = true)
    -> [CheckedKernel]
  {
    each("attention/\(name).cu", element.rawValue, [element.definition], on: [80], isHot: isHot)
  }
}

/// A use of exact attention's kernels.
private struct FlashUse {
  let name: String
  var keyDimension: Int
  var valueDimension: Int
  var features: FlashFeatures
  var architectures: [Int]
  /// Kernels whose spilled registers are known, by name and architecture.
  var cold: Set<String> = []
  var isHot = true
  var hasConstantBound = false
  var splits: Int?
  var longest: ExactArguments.Segment?

  init(
    _ name: String, _ keyDimension: Int, values valueDimension: Int? = nil, _ element: FlashElement,
    _ architectures: [Int], set: (inout FlashFeatures) -> Void = { _ in }
  ) {
    self.name = name
    self.keyDimension = keyDimension
    self.valueDimension = valueDimension ?? keyDimension
    features = FlashFeatures(element)
    set(&features)
    self.architectures = architectures
  }

  private func with(_ change: (inout FlashUse) -> Void) -> FlashUse {
    var use = self
    change(&use)
    return use
  }

  private static func terms(_ features: inout FlashFeatures) { features.terms = .ofScores }
  private static func cosine(_ features: inout FlashFeatures) { features.dividesByLengths = true }
  private static func keyMask(_ features: inout FlashFeatures) { features.hasKeyMask = true }
  private static func packed(_ features: inout FlashFeatures) { features.isPacked = true }
  private static func long(_ features: inout FlashFeatures) { features.isLong = true }
  private static func longPacked(_ features: inout FlashFeatures) {
    long(&features)
    packed(&features)
  }
  private static func bias(_ dtype: DType) -> (inout FlashFeatures) -> Void {
    {
      terms(&$0)
      $0.bias = dtype
    }
  }
  /// One term, by Hopper's kernels.
  private static func only(_ term: ScoreTermSet, bias: DType? = nil) -> (inout FlashFeatures) ->
    Void
  {
    {
      $0.terms = term
      $0.bias = bias
      $0.isLong = true
    }
  }

  /// A sequence that needs two warpgroups, not three.
  private static let short = ExactArguments.Segment(
    batch: 0, queryStart: 0, queryCount: 128, keyStart: 0, keyCount: 128,
    band: Band(false, .topLeft, nil, queries: 128, keys: 128))

  static let forward = [
    FlashUse("d64", 64, .bf16, [80, 90, 100]),
    FlashUse("d48 packed", 48, .bf16, [90], set: packed),
    FlashUse("d64 key mask", 64, .f16, [80, 90], set: keyMask),
    FlashUse("d64 cosine", 64, .bf16, [80, 90, 100], set: cosine).with {
      $0.hasConstantBound = true
    },
    FlashUse("d64 cosine, head scales", 64, .bf16, [90]) {
      cosine(&$0)
      $0.hasHeadScales = true
    }.with { $0.hasConstantBound = true },
    FlashUse("d64 terms", 64, .bf16, [90], set: terms).with { $0.isHot = false },
    FlashUse("d64 bias", 64, .bf16, [90], set: bias(.bfloat16)).with { $0.isHot = false },
    FlashUse("d64 mask of pairs", 64, .bf16, [90], set: bias(.bool)).with { $0.isHot = false },
    FlashUse("d64 split", 64, .bf16, [90]).with { $0.splits = 2 },
    FlashUse("d64", 64, .tf32x3, [80, 90, 100]), FlashUse("d64", 64, .tf32, [90]),
    FlashUse("d64, two", 64, .f16, [90]).with { $0.longest = short },
    FlashUse("d64 packed", 64, .bf16, [90], set: packed),
    FlashUse("d128", 128, .bf16, [100]), FlashUse("d128", 128, .f16, [90]),
    FlashUse("k64 v128", 64, values: 128, .bf16, [90]),
    FlashUse("d96 packed", 96, .bf16, [90], set: packed),
    FlashUse("d128 key mask", 128, .f16, [80, 90, 100], set: keyMask),
    FlashUse("d128 cosine", 128, .bf16, [80, 90], set: cosine).with { $0.hasConstantBound = true },
    FlashUse("d128 terms", 128, .bf16, [90], set: terms).with { $0.isHot = false },
    FlashUse("d128 split, key mask", 128, .bf16, [90], set: keyMask).with { $0.splits = 2 },
    FlashUse("d128", 128, .tf32x3, [80, 90, 100]),
    FlashUse("k192 v128", 192, values: 128, .bf16, [90]),
    FlashUse("d256", 256, .bf16, [80, 86, 90, 100]), FlashUse("d256", 256, .tf32x3, [90]),
    FlashUse("d64 long", 64, .tf32x3, [90], set: long).with { $0.isHot = false },
    FlashUse("d64 long, two", 64, .tf32x3, [90], set: long).with { $0.longest = short },
    FlashUse("d64 long packed", 64, .tf32x3, [90], set: longPacked).with { $0.isHot = false },
    FlashUse("d128 long", 128, .tf32x3, [90], set: long),
    FlashUse("d128 ALiBi", 128, .bf16, [90], set: only(.alibi)),
    FlashUse("d64 ALiBi", 64, .f16, [90], set: only(.alibi)),
    FlashUse("d128 softcap", 128, .bf16, [90], set: only(.softcap)),
    FlashUse("d64 softcap", 64, .f16, [90], set: only(.softcap)),
    FlashUse("d128 logit decay", 128, .bf16, [90], set: only(.logitDecay)),
    FlashUse("d64 logit decay", 64, .f16, [90], set: only(.logitDecay)),
    FlashUse("d128 one bias", 128, .bf16, [90], set: only(.bias, bias: .bfloat16)),
    FlashUse("d64 one bias", 64, .f16, [90], set: only(.bias, bias: .float32)),
    FlashUse("d128 long ALiBi", 128, .tf32x3, [90], set: only(.alibi)),
  ]

  static let backward = [
    FlashUse("d64", 64, .bf16, [80, 90, 100]),
    FlashUse("d64 cosine", 64, .bf16, [90], set: cosine),
    FlashUse("d64 terms", 64, .bf16, [90], set: terms).with { $0.isHot = false },
    FlashUse("d64 bias", 64, .bf16, [90], set: bias(.float16)).with { $0.isHot = false },
    FlashUse("d64", 64, .tf32x3, [90, 100]),
    FlashUse("d128", 128, .bf16, [80, 100]).with {
      $0.cold = ["attention/backward_queries sm_100"]
    },
    FlashUse("d128", 128, .f16, [90]),
    FlashUse("d128 cosine", 128, .f16, [80, 90, 100], set: cosine),
    FlashUse("d128", 128, .tf32x3, [90]).with { $0.cold = ["attention/backward_keys sm_90"] },
    FlashUse("d256", 256, .bf16, [90]), FlashUse("d64 long", 64, .tf32x3, [90], set: long),
    FlashUse("d128 long", 128, .tf32x3, [90], set: long),
    FlashUse("d128 long packed", 128, .tf32x3, [90], set: longPacked),
    FlashUse("d128 key mask", 128, .bf16, [90], set: keyMask),
    FlashUse("d128 ALiBi", 128, .bf16, [90], set: only(.alibi)),
    FlashUse("d64 ALiBi", 64, .f16, [90], set: only(.alibi)),
    FlashUse("d128 softcap", 128, .bf16, [90], set: only(.softcap)),
    // A few registers of some kernels spill.
    FlashUse("d64 softcap", 64, .f16, [90], set: only(.softcap)).with {
      $0.cold = ["attention/hopper_backward_queries sm_90a"]
    },
    FlashUse("d128 logit decay", 128, .bf16, [90], set: only(.logitDecay)).with {
      $0.cold = ["attention/hopper_backward_keys sm_90a"]
    },
    FlashUse("d128 one bias", 128, .bf16, [90], set: only(.bias, bias: .bfloat16)).with {
      $0.cold = ["attention/hopper_backward_keys sm_90a"]
    },
  ]

  static let biasGradients = [
    FlashUse("d64", 64, .bf16, [80], set: terms),
    // Tiles of 64 × 64 spill 280 bytes in float32.
    FlashUse("d128", 128, .tf32x3, [90], set: terms).with {
      $0.cold = ["attention/bias_gradient sm_90"]
    },
  ]

  private func checked(
    _ kernel: String, part: String = "", _ definitions: [String], _ architecture: Int,
    usesWarpgroups: Bool = false
  ) -> CheckedKernel {
    let target = "sm_\(architecture)\(usesWarpgroups ? "a" : "")"
    return CheckedKernel(
      "\(kernel).cu", "\(name) \(features.element.rawValue)\(part)", definitions,
      architecture: target, isHot: isHot && !cold.contains("\(kernel) \(target)"))
  }

  var forwardKernels: [CheckedKernel] {
    architectures.map {
      let tile = FlashTile(
        keyDimension: keyDimension, valueDimension: valueDimension, features: features,
        hasConstantBound: hasConstantBound, splits: splits, longest: longest, limits: .of($0))
      return checked(
        tile.kernel, tile.definitions, $0, usesWarpgroups: tile.warpgroups != nil)
    }
  }

  var backwardKernels: [CheckedKernel] {
    architectures.flatMap { architecture in
      FlashBackwardTile.all(
        keyDimension: keyDimension, valueDimension: valueDimension, features: features,
        limits: .of(architecture)
      ).map {
        checked(
          $0.kernel, part: $0.owner == .keys || $0.owner == .values ? ", \($0.owner)" : "",
          $0.definitions(isWide: !features.element.isHalf), architecture,
          usesWarpgroups: $0.warpgroups != nil)
      }
    }
  }

  var biasGradientKernels: [CheckedKernel] {
    architectures.map {
      let tile = FlashBiasTile(
        TileColumns(
          keyDimension: keyDimension, valueDimension: valueDimension, features.element),
        features, .of($0))
      return checked(
        "attention/bias_gradient", tile.definitions(isWide: !features.element.isHalf), $0)
    }
  }
}

extension TileLimits {
  /// Those of an architecture's largest devices: 90 is that of compute capability 9.0.
  static func of(_ architecture: Int) -> TileLimits {
    let kibibytes =
      switch architecture {
      case 80: 163
      case 86: 99
      default: 227
      }
    return TileLimits(capability: architecture, sharedBytes: kibibytes << 10)
  }
}
