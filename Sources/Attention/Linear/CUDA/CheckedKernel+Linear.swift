import AttentionCUDA

extension CheckedKernel {
  /// Kernels of linear attention, except those with Hopper's instructions.
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
      + each("linear/sum_slots.cu", on: [80])
  }()
}
