import AttentionLayers

/// RWKV's channel mixing, which stands in place of a feed-forward layer in descriptions of published models. It is not a
/// layer's mixer by itself, and so not registered.
public struct ChannelMixingConfiguration: TabledConfiguration {
  public typealias Mixer = ChannelMixing

  public static let name = "rwkv_channel_mixing"
  public static let summary = "RWKV's channel mixing."
  public static let table: [OptionRow<ChannelMixing.Options>] = [
    .init("inner", \.inner, "the width between the projections"),
    .init("receptance", \.hasReceptance, "whether the output has RWKV-6's gate"),
  ]

  public var options: ChannelMixing.Options

  public init(_ options: ChannelMixing.Options) { self.options = options }
}
