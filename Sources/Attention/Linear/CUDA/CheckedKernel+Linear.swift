import AttentionCUDA

extension CheckedKernel {
  /// Kernels of linear attention.
  package static let linear: [CheckedKernel] = {
    func chunked(
      _ pass: LinearTile.Pass, _ update: LinearProblem.Update, keys: Int, _ architectures: [Int]
    ) -> [CheckedKernel] {
      architectures.compactMap { architecture in
        LinearTile(
          pass, update, keyDimension: keys, valueDimension: keys,
          sharedBytes: TileLimits.of(architecture).sharedBytes
        ).map {
          CheckedKernel(
            "linear/\(pass == .forward ? "forward" : "backward").cu", "\(update.rawValue) k\(keys)",
            $0.definitions, architecture: "sm_\(architecture)")
        }
      }
    }
    return chunked(.forward, .additive, keys: 128, [80, 90])
      + chunked(.forward, .delta, keys: 128, [90, 100])
      + chunked(.forward, .lowRank, keys: 64, [90])
      + chunked(.backward, .additive, keys: 128, [90])
      + chunked(.backward, .delta, keys: 128, [80, 90])
      + chunked(.backward, .lowRank, keys: 256, [90, 100])
      + each(
        "linear/step.cu", "k\(LinearTile.largestKeyDimension)",
        ["KEYS=\(LinearTile.largestKeyDimension)"], on: [80, 90])
      + each("linear/sum_slots.cu", on: [80]) + hopper
  }()

  /// Those with Hopper's instructions, and those that only they need.
  private static let hopper: [CheckedKernel] = {
    typealias Shape = HopperTile.Shape
    func kernel(
      _ name: String, _ use: String, _ shape: Shape, hasOutputs: Bool = true,
      _ definitions: [String] = [], isHot: Bool = true
    ) -> CheckedKernel {
      // No multiprocessor is idle with wide blocks.
      let tile = HopperTile(
        shape, recurrences: 1, multiprocessors: 1, hasOutputs: hasOutputs)
      return CheckedKernel(
        "linear/\(name).cu", use, ["ELEMENT=bf16"] + tile.definitions + definitions,
        architecture: "sm_90a", isHot: isHot)
    }
    func pass(
      _ use: String, _ shape: Shape, hasOutputs: Bool = true, isHot: Bool = true
    ) -> CheckedKernel {
      let isWayBack = shape.update.isErasing && shape.isReversed
      return kernel(
        isWayBack ? "hopper_value_gradients" : "hopper_forward", use, shape,
        hasOutputs: hasOutputs, isHot: isHot)
    }
    func shape(
      _ keys: Int = 128, _ values: Int = 128, _ update: LinearProblem.Update = .additive,
      decays: Bool = true, set: (inout Shape) -> Void = { _ in }
    ) -> Shape {
      var shape = Shape(
        keyDimension: keys, valueDimension: values, update: update, decays: decays)
      set(&shape)
      return shape
    }
    func delta(decays: Bool = true, set: (inout Shape) -> Void = { _ in }) -> Shape {
      shape(128, 128, .delta, decays: decays, set: set)
    }
    func back(_ shape: inout Shape) { shape.isReversed = true }
    func byChannel(_ shape: inout Shape) { shape.channels = .keys }
    func flows(_ shape: inout Shape) { shape.hasFlows = true }
    func flowsBack(_ shape: inout Shape) {
      flows(&shape)
      back(&shape)
    }
    func flowsByChannel(_ shape: inout Shape) {
      shape.channels = .values
      flows(&shape)
      shape.isStrict = true
    }
    let ofChannels = shape(decays: false, set: byChannel)
    let deltaOfChannels = delta(decays: false, set: byChannel)
    func ofLowRank(_ shape: inout Shape) {
      byChannel(&shape)
      shape.isLowRank = true
    }
    let lowRank = shape(128, 128, .lowRank, decays: false, set: ofLowRank)
    return [
      pass("delta k128", delta()),
      pass("delta k128 normalised", delta { $0.normalizes = true }),
      pass("delta k128 pieces", delta(), hasOutputs: false),
      pass("delta k128 written", delta { $0.isOfWrites = true }),
      pass("delta k64", shape(64, 64, .delta, decays: false)),
      pass("additive k128", shape(decays: false)), pass("additive k64, decays", shape(64)),
      pass("dv k128", shape(set: back)),
      pass("dv k128 pieces", shape(set: back), hasOutputs: false),
      pass("dq k128, flows", shape(set: flows)), pass("dk k128, flows", shape(set: flowsBack)),
      pass(
        "dk k128 of reads",
        shape {
          flows(&$0)
          $0.isStrict = true
        }),
      pass(
        "dk k128 of writes",
        shape {
          flowsBack(&$0)
          $0.isStrict = true
          $0.held = .added
          $0.findsBetas = true
        }),
      pass("k128", delta(set: back)), pass("k128 pieces", delta(set: back), hasOutputs: false),
      kernel("hopper_inverse", "k128", delta { $0.normalizes = true }),
      pass("channels k128", ofChannels),
      pass("channels dq k128", shape(decays: false, set: flowsByChannel)),
      pass(
        "channels dk k128",
        shape(decays: false) {
          flowsByChannel(&$0)
          back(&$0)
        }),
      // It spills 24 bytes, and the gradients of channels as many for a third block on a multiprocessor.
      pass("channels delta k128", deltaOfChannels, isHot: false),
      pass(
        "channels delta k128 written",
        delta(decays: false) {
          byChannel(&$0)
          $0.isOfWrites = true
        }),
      pass(
        "channels k128",
        delta(decays: false) {
          byChannel(&$0)
          back(&$0)
        }),
      kernel("hopper_inverse", "channels k128", deltaOfChannels),
      kernel("channel_gates", "delta k128", deltaOfChannels),
      kernel("channel_gradients", "k128", ofChannels, isHot: false),
      kernel("channel_gradients", "delta k128", deltaOfChannels, isHot: false),
      kernel("flow_sums", "delta k128", shape(set: flows), ["ERASES=1"]),
      pass("low rank k128", lowRank, isHot: false),
      pass(
        "low rank k128",
        shape(128, 128, .lowRank, decays: false) {
          ofLowRank(&$0)
          back(&$0)
        }),
      pass(
        "low rank dk k128",
        shape(decays: false) {
          flowsByChannel(&$0)
          back(&$0)
          $0.isLowRank = true
        }),
      kernel("hopper_inverse", "low rank k128", lowRank),
      kernel("low_rank_gates", "k128", lowRank),
      kernel("low_rank_gradients", "k128", lowRank),
    ]
      + each(
        "linear/join_pieces.cu", "delta k128", ["KEYS=128", "UPDATE=1", "CHANNELS=0"], on: [90])
      + each(
        "linear/join_pieces.cu", "additive k64", ["KEYS=64", "UPDATE=0", "CHANNELS=1"], on: [90])
      + each("linear/unit_rows.cu", on: [90])
  }()
}
