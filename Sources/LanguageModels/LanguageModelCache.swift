import AttentionLayers
import AttentionTensors

extension LanguageModel {
  /// What the model keeps of the tokens it has read. A copy is an independent continuation.
  public struct Cache: Sendable {
    /// For each part of each step of each layer.
    var layers: [[[(any MixerCache)?]]]
    public internal(set) var tokenCount = 0
    /// Holds the states instead of ``layers`` while single tokens are read by it.
    var program: DecodingProgram?
    /// Why there is no program.
    var objection: DecodingObjection?

    init(layers: [[[(any MixerCache)?]]]) { self.layers = layers }

    /// The name of a part's tensor in files.
    private static func prefix(_ layer: Int, _ step: Int, _ part: Int) -> String {
      "layers.\(layer).steps.\(step).parts.\(part)."
    }

    /// All tensors of all parts, by names that tell the part.
    ///
    /// - Throws: `LayerError` if a mixer's cache is none that can be stored.
    func contents() throws -> [String: Tensor] {
      var (all, own): ([String: Tensor], Cache) = ([:], self)
      try own.leaveProgram()
      try own.forEachCache { layer, step, part, cache in
        for (name, tensor) in try Self.storable(cache).contents().tensors {
          all[Self.prefix(layer, step, part) + name] = tensor
        }
      }
      return all
    }

    /// A cache of the same model with other contents.
    ///
    /// - Parameters:
    ///   - contents: of a cache of the model.
    ///   - tokenCount: how many tokens it has read.
    /// - Throws: `LayerError` if they are not such.
    func restored(from contents: [String: Tensor], tokenCount: Int) throws -> Cache {
      var (restored, used) = (self, 0)
      restored.program = nil
      try forEachCache { layer, step, part, cache in
        let prefix = Self.prefix(layer, step, part)
        let own = contents.filter { $0.key.hasPrefix(prefix) }
        used += own.count
        restored.layers[layer][step][part] = try Self.storable(cache).restored(
          from: CacheContents(
            tokenCount: tokenCount,
            tensors: Dictionary(
              uniqueKeysWithValues: own.map { (String($0.dropFirst(prefix.count)), $1) })))
      }
      guard used == contents.count else {
        throw LayerError.invalidArgument(
          "contents", was: "of \(contents.count) tensors", mustBe: "of the model's \(used)")
      }
      restored.tokenCount = tokenCount
      return restored
    }

    private static func storable(_ cache: any MixerCache) throws -> any StorableMixerCache {
      guard let storable = cache as? any StorableMixerCache else {
        throw LayerError.invalidArgument(
          "cache", was: "\(type(of: cache))", mustBe: "a StorableMixerCache, to be kept in a file")
      }
      return storable
    }

    private func forEachCache(
      _ body: (Int, Int, Int, any MixerCache) throws -> Void
    ) rethrows {
      for (layer, steps) in layers.enumerated() {
        for (step, parts) in steps.enumerated() {
          for (part, cache) in parts.enumerated() {
            if let cache { try body(layer, step, part, cache) }
          }
        }
      }
    }

    /// The memory it takes.
    public var byteCount: Int {
      program?.byteCount ?? layers.joined().joined().reduce(0) { $0 + ($1?.byteCount ?? 0) }
    }

    /// Brings the states back from the program.
    mutating func leaveProgram() throws {
      guard let program else { return }
      var states = try program.caches()[...]
      for layer in layers.indices {
        for step in layers[layer].indices {
          for part in layers[layer][step].indices {
            layers[layer][step][part] = states.removeFirst()
          }
        }
      }
      self.program = nil
    }
  }
}
