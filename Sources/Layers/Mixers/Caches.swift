import AttentionTensors

/// The keys and values that later queries may still attend to.
///
/// Without a window it grows by one row per token. With one it never holds more than twice the rows
/// that one call can attend to.
public struct KeyValueCache: MixerCache {
  /// How many tokens a query attends to, its own included; nil for all.
  public let window: Int?
  public internal(set) var tokenCount = 0
  private(set) var keys: GrowableRows?
  private(set) var values: GrowableRows?
  /// Which of the kept tokens are not padding; nil as long as all are.
  private(set) var mask: GrowableRows?

  public var byteCount: Int {
    (keys?.byteCount ?? 0) + (values?.byteCount ?? 0) + (mask?.byteCount ?? 0)
  }

  public init(window: Int? = nil) { self.window = window }

  /// The kept keys and values, [batch, kept, heads, dimension]; nil before the first token.
  func rows() throws -> (keys: Tensor, values: Tensor)? {
    guard let keys, let values else { return nil }
    return (try keys.tensor(), try values.tensor())
  }

  /// Whether a kept token is padding.
  var hasPadding: Bool { mask != nil }

  /// What the queries of a call may attend to.
  public struct Visible: Sendable {
    /// `[batch, kept + length, heads, dimension]`.
    public let keys: Tensor
    /// `[batch, kept + length, heads, dimension of values]`.
    public let values: Tensor
    /// `bool [batch, kept + length]`, false for padding; nil if there is none.
    public let mask: Tensor?
  }

  /// Appends keys and values and returns all that are kept. Afterwards drops those that the next token cannot
  /// attend to.
  ///
  /// - Parameters:
  ///   - newKeys: `[batch, length, heads, dimension]`; batch, heads, dimension and dtype of those before.
  ///   - newValues: `[batch, length, heads, dimension of values]`.
  ///   - newMask: `bool [batch, length]`, false for padding; nil if there is none.
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` if the three shapes do not agree, `TensorError`
  ///   if they do not agree with those before; the cache is then unchanged.
  public mutating func append(
    keys newKeys: Tensor, values newValues: Tensor, mask newMask: Tensor? = nil
  ) throws -> Visible {
    guard newKeys.rank == 4 else {
      throw LayerError.invalidArgument(
        "keys", was: "\(newKeys.shape)", mustBe: "[batch, length, heads, dimension]")
    }
    let places = Array(newKeys.shape.prefix(3))
    guard newValues.rank == 4, Array(newValues.shape.prefix(3)) == places else {
      throw LayerError.invalidArgument(
        "values", was: "\(newValues.shape)",
        mustBe: "\(Shape(places)) and a dimension, like the keys")
    }
    guard newMask == nil || newMask?.shape == Shape(Array(places.prefix(2))) else {
      throw LayerError.invalidArgument(
        "mask", was: "\(newMask!.shape)", mustBe: "\(Shape(Array(places.prefix(2))))")
    }
    let (batch, length) = (newKeys.shape[0], newKeys.shape[1])
    func appended(_ rows: GrowableRows?, _ new: Tensor) throws -> GrowableRows {
      var rows =
        try rows
        ?? GrowableRows(
          batch: batch, rowShape: Shape(Array(new.shape.dropFirst(2))), dtype: new.dtype,
          device: new.device)
      try rows.append(new)
      return rows
    }
    let kept = keys?.count ?? 0
    var allKeys = try appended(keys, newKeys)
    var allValues = try appended(values, newValues)
    var allMask = mask
    if mask != nil || newMask != nil {
      func unpadded(_ count: Int) throws -> Tensor {
        try .full([batch, count], 1, dtype: .bool, device: newKeys.device)
      }
      let before = try mask ?? appended(nil, unpadded(kept))
      allMask = try appended(before, newMask ?? unpadded(length))
    }
    let visible = Visible(
      keys: try allKeys.tensor(), values: try allValues.tensor(), mask: try allMask?.tensor())
    if let window {
      let dropped = allKeys.count - (window - 1)
      try allKeys.removeFirst(dropped)
      try allValues.removeFirst(dropped)
      try allMask?.removeFirst(dropped)
    }
    (keys, values, mask) = (allKeys, allValues, allMask)
    tokenCount += length
    return visible
  }
}

/// The states of a recurrence: constant memory, however many tokens have been read.
///
/// A ``RecurrentMixer`` keeps any number of states by name. Another mixer with one state continues from
/// ``state`` and stores the final state of its operator with `advance(by:to:)`.
public struct RecurrentCache: MixerCache {
  public private(set) var tokenCount = 0
  /// The states after the last token, by name; empty before the first.
  public private(set) var states: [String: Tensor] = [:]

  private static let onlyState = "state"

  /// The state of a mixer with a single one: what its operator returned as its final state, as float32 [batch,
  /// heads, key dimension, value dimension] of linear attention; nil before the first token.
  public var state: Tensor? { states[Self.onlyState] }

  public var byteCount: Int { states.values.reduce(0) { $0 + $1.byteCount } }

  public init() {}

  /// Stores the state after `length` more tokens, detached from the tape.
  public mutating func advance(by length: Int, to state: Tensor) {
    advance(by: length, to: [Self.onlyState: state])
  }

  /// Stores the states after `length` more tokens, detached from the tape.
  public mutating func advance(by length: Int, to states: [String: Tensor]) {
    tokenCount += length
    self.states = states.mapValues { $0.detached() }
  }
}
