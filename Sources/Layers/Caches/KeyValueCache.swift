import AttentionTensors

/// The keys and values that later queries may still see.
///
/// Without a window it grows by one row a token; with one it never holds more than twice the rows
/// that one call can see.
public struct KeyValueCache: MixerCache {
  /// How many tokens a query sees, itself included; nil for all.
  public let window: Int?
  public private(set) var tokenCount = 0
  private var keys: GrowableRows?
  private var values: GrowableRows?
  /// Which of the kept tokens are not padding; nil as long as all are.
  private var mask: GrowableRows?

  public var byteCount: Int {
    (keys?.byteCount ?? 0) + (values?.byteCount ?? 0) + (mask?.byteCount ?? 0)
  }

  public init(window: Int? = nil) { self.window = window }

  /// What the queries of a call may see.
  struct Visible {
    /// [batch, kept + length, heads, dimension]
    let keys: Tensor
    let values: Tensor
    /// Bool [batch, kept + length], or nil for all true.
    let mask: Tensor?
  }

  /// Adds `keys` and `values` [batch, length, heads, dimension] and returns them behind those kept.
  /// Afterwards only what the next token may see is kept.
  mutating func append(keys newKeys: Tensor, values newValues: Tensor, mask newMask: Tensor?) throws
    -> Visible
  {
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
