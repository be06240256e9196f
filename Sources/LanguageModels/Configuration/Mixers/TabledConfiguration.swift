import AttentionLayers

/// The configuration of a mixer that is made from options: a table of keys, each with the option that it sets.
///
///     struct AverageConfiguration: TabledConfiguration {
///       typealias Mixer = Average
///       static let name = "average"
///       static let summary = "A moving average."
///       static let table: [OptionRow<Average.Options>] = [
///         OptionRow("decay", \.decay, "the weight of one token relative to the next")
///       ]
///       var options: Average.Options
///       init(_ options: Average.Options) { self.options = options }
///     }
public protocol TabledConfiguration: MixerConfiguration, OptionTable
where CodingKeys == OptionKey<Self> {
  associatedtype Mixer: ConfiguredMixer where Mixer.Options == Options

  var options: Options { get set }

  init(_ options: Options)
}

extension TabledConfiguration {
  public init() { self.init(Options()) }

  public init(from decoder: any Decoder) throws {
    self.init()
    let values = try decoder.container(keyedBy: AnyKey.self)
    for row in Self.table { try row.read(values, &options) }
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: AnyKey.self)
    for row in Self.table { try row.write(options, &values) }
  }

  public func validate(hidden: Int) throws { try options.validate(hidden: hidden) }

  public func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws
    -> any TokenMixer
  {
    try Mixer(hidden: hidden, options: options, outputScale: outputScale, scope: scope)
  }
}

/// The keys of the options of a mixer.
public protocol OptionTable {
  associatedtype Options: MixerOptions

  /// The keys in the order of their documentation.
  static var table: [OptionRow<Options>] { get }
}

/// A key of a configuration, and the option that it sets.
public struct OptionRow<Options>: Sendable {
  public let name: String
  public let meaning: String
  public let absence: String?
  fileprivate let read: @Sendable (KeyedDecodingContainer<AnyKey>, inout Options) throws -> Void
  fileprivate let write: @Sendable (Options, inout KeyedEncodingContainer<AnyKey>) throws -> Void

  /// - Parameters:
  ///   - name: the key.
  ///   - option: the option that it sets.
  ///   - meaning: the meaning of the value, in a few words.
  ///   - absence: the default in words, if it is not a value.
  public init<Value: Codable & Sendable>(
    _ name: String, _ option: WritableKeyPath<Options, Value> & Sendable, _ meaning: String,
    absence: String? = nil
  ) {
    self.name = name
    self.meaning = meaning
    self.absence = absence
    read = { values, options in
      options[keyPath: option] = try values.value(
        AnyKey(name), default: options[keyPath: option])
    }
    write = { options, values in
      try values.encode(options[keyPath: option], forKey: AnyKey(name))
    }
  }
}

/// A key of a table: the index of its row.
public struct OptionKey<Table: OptionTable>: DocumentedKey {
  private let index: Int

  public static var allCases: [OptionKey] { Table.table.indices.map { OptionKey($0) } }

  private init(_ index: Int) { self.index = index }

  public init?(stringValue: String) {
    guard let index = Table.table.firstIndex(where: { $0.name == stringValue }) else { return nil }
    self.init(index)
  }

  public init?(intValue: Int) { nil }

  private var row: OptionRow<Table.Options> { Table.table[index] }
  public var stringValue: String { row.name }
  public var intValue: Int? { nil }
  public var meaning: String { row.meaning }
  public var absence: String? { row.absence }
}
