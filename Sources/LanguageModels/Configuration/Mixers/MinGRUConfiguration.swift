import AttentionLayers

/// The minimal gated recurrent unit as a layer: `{ type: "min_gru" }`.
public struct MinGRUConfiguration: TabledConfiguration {
  public typealias Mixer = MinGRU

  public static let name = "min_gru"
  public static let summary = "The minimal gated recurrent unit."
  public static let table: [OptionRow<MinimalRecurrenceOptions>] = [
    .expansion(\.expansion),
    .init("bias", \.hasBias, "whether the projections before the recurrence have biases"),
  ]

  public var options: MinimalRecurrenceOptions

  public init(_ options: MinimalRecurrenceOptions) { self.options = options }
}
