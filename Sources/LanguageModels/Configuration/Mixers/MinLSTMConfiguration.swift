import AttentionLayers

/// The minimal long short-term memory as a layer: `{ type: "min_lstm" }`.
public struct MinLSTMConfiguration: TabledConfiguration {
  public typealias Mixer = MinLSTM

  public static let name = "min_lstm"
  public static let summary = "The minimal long short-term memory."
  public static let table: [OptionRow<MinimalRecurrenceOptions>] = [
    .expansion(\.expansion),
    .init("bias", \.hasBias, "whether the projections before the recurrence have biases"),
  ]

  public var options: MinimalRecurrenceOptions

  public init(_ options: MinimalRecurrenceOptions) { self.options = options }
}
