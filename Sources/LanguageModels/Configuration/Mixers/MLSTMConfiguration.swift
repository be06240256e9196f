import AttentionLayers

/// The matrix long short-term memory of xLSTM as a layer: `{ type: "mlstm", heads: 4 }`.
public struct MLSTMConfiguration: TabledConfiguration {
  public typealias Mixer = MLSTM

  public static let name = "mlstm"
  public static let summary = "The matrix long short-term memory of xLSTM."
  public static let table: [OptionRow<MLSTM.Options>] = [
    .heads(\.heads),
    .keyExpansion(\.keyExpansion),
    .valueExpansion(\.valueExpansion),
    .init("gate_cap", \.gateCap, "the bound of the gates' arguments, at most 40"),
    .init("bias", \.hasBias, "whether projections and norm have biases"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: MLSTM.Options

  public init(_ options: MLSTM.Options) { self.options = options }
}
