import AttentionCLibrary
import AttentionLayers

/// The `config.json` of a published model, read key by key, with a record of what was read.
///
/// A value that is absent or null has its family's default; one of the wrong type, or out of the range that the
/// model needs, is an error that names the key.
struct PublishedConfiguration {
  private let members: [String: JSONValue]
  /// The path of this object in the file, with a point at its end.
  private let prefix: String
  private let record: Record

  /// The keys that have been read, shared with the objects inside.
  private final class Record {
    var keys: Set<String> = []
  }

  /// - Throws: ``ConfigurationError`` if the file does not hold an object.
  init(_ value: JSONValue) throws {
    guard case .object(let members) = value else {
      throw ConfigurationError.invalidValue(
        "the configuration", was: value.kind, mustBe: "an object")
    }
    self.members = members
    prefix = ""
    record = Record()
  }

  private init(_ members: [String: JSONValue], prefix: String, record: Record) {
    self.members = members
    self.prefix = prefix
    self.record = record
  }

  /// The keys that nothing has read, in alphabetical order.
  var unread: [String] {
    members.keys.filter { !record.keys.contains(prefix + $0) }.sorted()
  }

  /// Whether the key has a value other than null.
  func has(_ key: String) -> Bool { value(key) != nil }

  private func value(_ key: String) -> JSONValue? {
    record.keys.insert(prefix + key)
    guard let value = members[key], value != .null else { return nil }
    return value
  }

  private func fail(_ key: String, _ value: JSONValue?, _ mustBe: String) -> ConfigurationError {
    .invalidValue(prefix + key, was: value?.summary ?? "absent", mustBe: mustBe)
  }

  /// An error about the value of a key.
  func error(_ key: String, mustBe: String) -> ConfigurationError {
    fail(key, value(key), mustBe)
  }
}

extension PublishedConfiguration {
  /// The largest size that a configuration may name, and the largest number of layers.
  static let largestSize = 1 << 20
  static let mostLayers = 1 << 12

  /// A whole number in `range`, or nil if the key is absent.
  func integer(_ key: String, in range: ClosedRange<Int> = 1...largestSize) throws -> Int? {
    guard let value = value(key) else { return nil }
    guard case .integer(let number) = value, range.contains(number) else {
      throw fail(key, value, "a whole number in \(range.lowerBound)...\(range.upperBound)")
    }
    return number
  }

  /// A whole number that the model needs.
  func requiredInteger(_ key: String, in range: ClosedRange<Int> = 1...largestSize) throws -> Int {
    guard let number = try integer(key, in: range) else {
      throw fail(key, nil, "a whole number in \(range.lowerBound)...\(range.upperBound)")
    }
    return number
  }

  /// A finite number, or nil if the key is absent.
  func number(_ key: String) throws -> Double? {
    switch value(key) {
    case nil: return nil
    case .integer(let number): return Double(number)
    case .number(let number) where number.isFinite: return number
    case let value: throw fail(key, value, "a number")
    }
  }

  func bool(_ key: String) throws -> Bool? {
    guard let value = value(key) else { return nil }
    guard case .bool(let flag) = value else { throw fail(key, value, "true or false") }
    return flag
  }

  func string(_ key: String) throws -> String? {
    guard let value = value(key) else { return nil }
    guard case .string(let text) = value else { throw fail(key, value, "a string") }
    return text
  }

  /// The object of a key, or nil if it is absent.
  func object(_ key: String) throws -> PublishedConfiguration? {
    guard let value = value(key) else { return nil }
    guard case .object(let members) = value else { throw fail(key, value, "an object") }
    return PublishedConfiguration(members, prefix: prefix + key + ".", record: record)
  }

  func strings(_ key: String) throws -> [String]? {
    guard let value = value(key) else { return nil }
    guard case .array(let values) = value else { throw fail(key, value, "an array of strings") }
    return try values.map {
      guard case .string(let text) = $0 else { throw fail(key, value, "an array of strings") }
      return text
    }
  }

  /// Numbers, of which those that are infinite are given as an object or as a name.
  func numbers(_ key: String, count: Int) throws -> [Double]? {
    guard let value = value(key) else { return nil }
    guard case .array(let values) = value, values.count == count else {
      throw fail(key, value, "an array of \(count) numbers")
    }
    return try values.map {
      switch $0 {
      case .integer(let number): Double(number)
      case .number(let number): number
      case .object(["__float__": .string("Infinity")]), .string("Infinity"): .infinity
      default: throw fail(key, value, "an array of \(count) numbers")
      }
    }
  }

  func integers(_ key: String) throws -> [Int]? {
    guard let value = value(key) else { return nil }
    guard case .array(let values) = value else {
      throw fail(key, value, "an array of whole numbers")
    }
    return try values.map {
      guard case .integer(let number) = $0 else {
        throw fail(key, value, "an array of whole numbers")
      }
      return number
    }
  }

  /// Throws unless the key is absent or has one of these values.
  func require(_ key: String, among values: JSONValue...) throws {
    guard let value = value(key), !values.contains(value) else { return }
    throw fail(key, value, values.map(\.summary).joined(separator: " or "))
  }

  /// Keys that say nothing about what the model computes from tokens: those of training, of generation, and
  /// those that record where the file came from.
  func passOver(_ keys: String...) {
    for key in keys { _ = value(key) }
  }
}

extension PublishedConfiguration {
  /// The activation of the feed-forward layers.
  func activation(_ key: String, default otherwise: Activation = .silu) throws -> Activation {
    switch try string(key) {
    case nil: return otherwise
    case "silu", "swish": return .silu
    case "gelu": return .gelu
    case "gelu_pytorch_tanh", "gelu_new", "gelu_fast": return .geluTanh
    case "relu": return .relu
    case "relu2": return .squaredReLU
    default:
      throw error(
        key, mustBe: "silu, swish, gelu, gelu_pytorch_tanh, gelu_new, gelu_fast, relu or relu2")
    }
  }

  /// The number of layers.
  func layerCount(_ key: String = "num_hidden_layers") throws -> Int {
    try requiredInteger(key, in: 1...Self.mostLayers)
  }

  /// The kind of each layer, by the names of today: `full_attention`, `sliding_attention`, `linear_attention` and
  /// others of a family. Nil if the file does not say.
  func layerKinds(count: Int) throws -> [String]? {
    let kinds =
      try perLayer("layer_types", count: count) ?? perLayer("layers_block_type", count: count)
    let earlier = ["attention": "full_attention", "mamba": "linear_attention"]
    return kinds?.map { earlier[$0] ?? $0 }
  }

  /// One value per layer.
  func perLayer(_ key: String, count: Int) throws -> [String]? {
    guard let values = try strings(key) else { return nil }
    guard values.count == count else {
      throw error(key, mustBe: "an array of \(count), one per layer")
    }
    return values
  }
}

extension PublishedConfiguration {
  /// The rotary embedding of layers of a kind, into `options`: `rope_parameters` of today's files, or `rope_theta`
  /// and `rope_scaling` of earlier ones.
  ///
  /// - Parameters:
  ///   - kind: the kind of layer, if the file may have rotary parameters for each.
  ///   - theta: the family's default.
  ///   - headDimension: the dimension of a head.
  func readRotary(
    into options: inout ExactAttentionOptions, kind: String? = nil, theta: Double = 10_000,
    headDimension: Int
  ) throws {
    var parameters = try object("rope_parameters")
    if let kind, let own = try parameters?.object(kind) { parameters = own }
    let scaling = try parameters ?? object("rope_scaling")
    options.rotaryTheta = try parameters?.number("rope_theta") ?? number("rope_theta") ?? theta
    let part = try parameters?.number("partial_rotary_factor") ?? number("partial_rotary_factor")
    if let part {
      guard part > 0, part <= 1 else {
        throw error("partial_rotary_factor", mustBe: "above 0 and at most 1")
      }
      options.rotaryDimension = Int(Double(headDimension) * part)
    }
    guard let scaling else { return }
    let longest = try integer("max_position_embeddings", in: 1...(1 << 31))
    options.rotaryScaling = try scaling.rotaryScaling(longest: longest)
  }

  private func rotaryScaling(longest: Int?) throws -> RotaryScaling? {
    let key = has("rope_type") ? "rope_type" : "type"
    func factor() throws -> Double {
      guard let factor = try number("factor"), factor > 0 else {
        throw error("factor", mustBe: "a number above 0")
      }
      return factor
    }
    func length() throws -> Double {
      let key = "original_max_position_embeddings"
      guard let length = try number(key) ?? longest.map(Double.init) else {
        throw error(key, mustBe: "a number above 0")
      }
      return length
    }
    switch try string(key) {
    case nil, "default", "none": return nil
    case "linear": return .linear(factor: try factor())
    case "llama3":
      return .llama3(
        factor: try factor(), lowFactor: try number("low_freq_factor") ?? 1,
        highFactor: try number("high_freq_factor") ?? 4, length: try length())
    case "yarn": return try yarn(factor(), length: length())
    default: throw error(key, mustBe: "default, linear, llama3 or yarn")
    }
  }

  private func yarn(_ factor: Double, length: Double) throws -> RotaryScaling {
    func amplitude(_ weight: Double) -> Double { factor <= 1 ? 1 : 0.1 * weight * log(factor) + 1 }
    var own = amplitude(1)
    if let one = try number("mscale"), let all = try number("mscale_all_dim"), one != 0, all != 0 {
      own = amplitude(one) / amplitude(all)
    }
    return .yarn(
      factor: factor, length: length, fastTurns: try number("beta_fast") ?? 32,
      slowTurns: try number("beta_slow") ?? 1,
      amplitude: try number("attention_factor") ?? own,
      roundsBounds: try bool("truncate") ?? true)
  }
}
