import AttentionCUDAKernels
import AttentionTensors

/// How `linear/hopper_forward.cu` divides a problem: the columns of the values per block, and the macros it
/// is compiled with.
struct HopperTile: Hashable, Sendable {
  /// Tokens of a chunk.
  static let chunk = linear_hopper_tokens
  /// Columns of a warpgroup, and of a row of shared memory.
  static let groupColumns = linear_hopper_columns
  /// Bytes of a half-precision element.
  private static let numberBytes = DType.bfloat16.size

  /// The properties of a pass that determine its variant.
  struct Shape: Hashable, Sendable {
    var keyDimension: Int
    var valueDimension: Int
    var update = LinearProblem.Update.additive
    var decays = false
    var normalizes = false
    var isReversed = false
    /// Whether it computes the flows through tokens besides its outputs.
    var hasFlows = false
    /// Whether a token's own key is excluded.
    var isStrict = false
    /// Whether the outputs are the values that the delta rule writes.
    var isOfWrites = false
    var held = Held.nothing
    /// Whether it computes the gradient of β.
    var findsBetas = false
    var channels = Channels.none
    /// Whether two rows of a chunk are a token (``LowRankRows``).
    var isLowRank = false
  }

  /// Which side of the state decays by channel.
  enum Channels: Int, Sendable {
    case none = 0
    case keys = 1
    case values = 2
  }

  /// How outputs are combined with the previous content of their memory.
  enum Held: Int, Sendable {
    case nothing = 0
    /// It is added to the outputs.
    case added = 1
    /// It is subtracted from the outputs.
    case taken = -1
  }

  let shape: Shape
  /// Columns of the values per block.
  let columns: Int
  /// Blocks that share the columns.
  let slices: Int
  /// Whether blocks write outputs; otherwise they write the effect of a piece of a sequence on the state.
  let hasOutputs: Bool

  /// Blocks of `columns` columns; those without outputs also process the columns of a map of states, if the
  /// update erases.
  private init(_ shape: Shape, columns: Int, hasOutputs: Bool) {
    self.shape = shape
    self.columns = columns
    let maps = hasOutputs || !shape.update.isErasing ? 0 : shape.keyDimension / columns
    slices = shape.valueDimension / columns + maps
    self.hasOutputs = hasOutputs
  }

  /// Wide blocks, whose score groups serve two state groups, unless they leave multiprocessors idle.
  ///
  /// For example, 128 recurrences of 128 columns fill 128 of 132 multiprocessors with wide blocks; 32
  /// recurrences are divided into 64 narrow ones.
  ///
  /// - Parameters:
  ///   - shape: the pass.
  ///   - recurrences: sequences, or pieces of them, times value heads.
  ///   - multiprocessors: those of the device.
  ///   - hasOutputs: see ``hasOutputs``.
  init(
    _ shape: Shape, recurrences: Int, multiprocessors: Int, hasOutputs: Bool = true
  ) {
    let wide = 2 * Self.groupColumns
    let canBeWide =
      shape.valueDimension % wide == 0
      && (hasOutputs || !shape.update.isErasing || shape.keyDimension % wide == 0)
    let wideBlocks = recurrences * (shape.valueDimension / wide)
    // Sums over pairs depend on the columns per block, which must not depend on the rest of the batch.
    let isWide = shape.hasFlows || 2 * wideBlocks > multiprocessors
    self.init(
      shape, columns: canBeWide && isWide ? wide : Self.groupColumns, hasOutputs: hasOutputs)
  }

  /// Threads of the state groups, the score group and the copying group.
  var threads: Int { linear_hopper_threads(columns) }

  /// Whether tokens erase with other keys than they write with.
  private var hasErasers: Bool { shape.update.isErasing && shape.channels != .none }

  /// The shared memory of a block.
  var sharedBytes: Int {
    func flag(_ isSet: Bool) -> Int { isSet ? 1 : 0 }
    let hasPartners = shape.hasFlows && hasOutputs && shape.channels == .none
    return linear_hopper_layout(
      shape.keyDimension, columns, Self.numberBytes, flag(shape.update.isErasing),
      flag(hasErasers), flag(hasPartners), flag(hasPartners && !shape.isReversed),
      decayingChannels
    ).end
  }

  /// That of a block of `linear/hopper_inverse.cu`.
  var inverseBytes: Int {
    linear_inverse_bytes(
      shape.keyDimension, Self.numberBytes, hasErasers ? 1 : 0, decayingChannels)
  }

  /// The channels of a block that decay, each with two factors.
  private var decayingChannels: Int {
    switch shape.channels {
    case .none: 0
    case .keys: shape.keyDimension
    case .values: columns
    }
  }

  /// The macros of the kernel.
  var definitions: [String] {
    [
      "UPDATE=\(shape.update.isErasing ? 1 : 0)", "KEYS=\(shape.keyDimension)",
      "COLUMNS=\(columns)",
      "DECAYS=\(shape.decays ? 1 : 0)", "NORMALIZES=\(shape.normalizes ? 1 : 0)",
      "OUTPUTS=\(!hasOutputs ? 0 : shape.isOfWrites ? 2 : 1)",
      "REVERSED=\(shape.isReversed ? 1 : 0)",
      "FLOWS=\(shape.hasFlows && hasOutputs ? 1 : 0)", "STRICT=\(shape.isStrict ? 1 : 0)",
      "ACCUMULATES=\(hasOutputs ? shape.held.rawValue : 0)",
      "BETAS=\(shape.findsBetas && hasOutputs ? 1 : 0)", "CHANNELS=\(shape.channels.rawValue)",
      "LOW_RANK=\(shape.isLowRank ? 1 : 0)",
    ]
  }
}
