import AttentionLayers
import AttentionTensors
import TestSupport
import Testing

/// The caches as mixers from outside the module use them.
@Suite struct KeyValueCacheTests {
  @Test func whatWasAppendedIsSeenUpToTheWindow() throws {
    let keys = try normal([2, 9, 3, 4], 1, dtype: .float32)
    let values = try normal([2, 9, 3, 5], 2, dtype: .float32)
    for (window, kept) in [(nil, 0), (3, 4)] as [(Int?, Int)] {
      var cache = KeyValueCache(window: window)
      for range in [0..<4, 4..<6] {
        _ = try cache.append(keys: keys.sliced(1, range), values: values.sliced(1, range))
      }
      let visible = try cache.append(keys: keys.sliced(1, 6..<9), values: values.sliced(1, 6..<9))
      #expect(cache.tokenCount == 9)
      #expect(visible.mask == nil)
      // Of a window of 3 the two before a call's first token are left.
      try expectClose(visible.keys, keys.sliced(1, kept..<9), within: 0)
      try expectClose(visible.values, values.sliced(1, kept..<9), within: 0)
    }
  }

  @Test func paddingIsRemembered() throws {
    let rows = try Tensor.ones([1, 2, 1, 1])
    var cache = KeyValueCache()
    _ = try cache.append(keys: rows, values: rows)
    let mask = try Tensor([false, true], [1, 2])
    let visible = try cache.append(keys: rows, values: rows, mask: mask)
    #expect(try visible.mask?.elements(as: Bool.self) == [true, true, false, true])
  }

  @Test func whatDoesNotFitIsNamedAndNotRemembered() throws {
    let rows = try Tensor.ones([1, 2, 3, 4])
    var cache = KeyValueCache()
    _ = try cache.append(keys: rows, values: rows)
    func message(_ keys: Tensor, _ values: Tensor, _ mask: Tensor? = nil) -> String {
      do { return "\(try cache.append(keys: keys, values: values, mask: mask))" } catch {
        return "\(error)"
      }
    }
    #expect(
      try message(.ones([2, 3, 4]), rows)
        == "keys is [2, 3, 4]; it must be [batch, length, heads, dimension]")
    #expect(
      try message(rows, .ones([1, 2, 1, 4]))
        == "values is [1, 2, 1, 4]; it must be [1, 2, 3] and a dimension, like the keys")
    #expect(try message(rows, rows, .ones([1, 3])) == "mask is [1, 3]; it must be [1, 2]")
    #expect(try message(.ones([1, 2, 3, 5]), rows).hasPrefix("rows is "))
    #expect(try message(rows.cast(to: .float64), rows).hasPrefix("rows is "))
    #expect(cache.tokenCount == 2)
    let visible = try cache.append(keys: rows, values: rows)
    #expect(visible.keys.shape == [1, 4, 3, 4])
  }

  @Test func aStateIsRememberedWithoutItsHistory() throws {
    var cache = RecurrentCache()
    #expect(cache.state == nil && cache.tokenCount == 0)
    cache.advance(by: 3, to: try .ones([1, 2]).tracked())
    #expect(cache.tokenCount == 3)
    #expect(cache.state?.isTracked == false)
    #expect(cache.byteCount == 8)
  }
}
