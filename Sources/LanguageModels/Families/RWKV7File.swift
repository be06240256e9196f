import AttentionLayers
import AttentionTensors

/// A model of RWKV-7 as its authors publish it: a file of `torch.save` whose tensors have names of their own, and no
/// configuration.
///
///     let checkpoint = try RWKV7File(path: "RWKV-x070-World-0.1B.pth").checkpoint()
///     try checkpoint.write(to: "rwkv7")  // a folder with the names of flash-linear-attention
///
/// The vocabulary, `rwkv_vocab_v20230424.txt`, is published apart, and belongs into the folder.
public struct RWKV7File: Sendable {
  private let file: TorchFile
  private let description: ModelDescription
  private let configuration: String

  /// ε of the norm over each head is 64 · 10⁻⁵ in every model: 10⁻⁵ per channel of heads of 64.
  private static let headDimension = 64

  /// Opens the file, and reads the extents of the model from the shapes of its tensors.
  ///
  /// - Throws: `TensorError.file(path:reason:)` if it cannot be read or is of another model.
  public init(path: String) throws {
    let file = try TorchFile(path: path)
    self.file = file
    func fail(_ reason: String) -> TensorError { .file(path: path, reason: reason) }
    func extents(_ name: String, _ count: Int) throws -> Shape {
      guard let shape = file.shape(of: name), shape.count == count else {
        throw fail("is no model of RWKV-7: it has no \(name) of \(count) axes")
      }
      return shape
    }
    let blocks = file.names.compactMap { name -> Int? in
      let parts = name.split(separator: ".")
      return parts.count > 2 && parts[0] == "blocks" ? Int(parts[1]) : nil
    }
    guard let last = blocks.max() else { throw fail("is no model of RWKV-7: it has no blocks") }
    let embedding = try extents("emb.weight", 2)
    let heads = try extents("blocks.0.att.r_k", 2)
    guard heads[1] == Self.headDimension else {
      throw fail("has heads of \(heads[1]) channels; they must have \(Self.headDimension)")
    }
    func rank(_ name: String, block: Int = 0) throws -> Int {
      try extents("blocks.\(block).att.\(name)1", 2)[1]
    }
    // Without a second layer no values are mixed, and the rank has no meaning.
    let valueRank = last > 0 ? try rank("v", block: 1) : 1
    configuration = """
      {
        "architectures": ["RWKV7ForCausalLM"],
        "model_type": "rwkv7",
        "dtype": "\(try file.dtype(of: "emb.weight").rawValue)",
        "vocab_size": \(embedding[0]),
        "hidden_size": \(embedding[1]),
        "intermediate_size": \(try extents("blocks.0.ffn.key.weight", 2)[0]),
        "num_hidden_layers": \(last + 1),
        "head_dim": \(heads[1]),
        "num_heads": \(heads[0]),
        "decay_low_rank_dim": \(try rank("w")),
        "a_low_rank_dim": \(try rank("a")),
        "v_low_rank_dim": \(valueRank),
        "gate_low_rank_dim": \(try rank("g")),
        "hidden_act": "sqrelu",
        "norm_first": true,
        "norm_bias": true,
        "norm_eps": 1e-05,
        "attn": null,
        "tie_word_embeddings": false,
        "bos_token_id": 0,
        "eos_token_id": 0
      }

      """
    do {
      let reader = try PublishedConfiguration(JSONValue(json5: configuration))
      description = try ModelFamily.named("rwkv7").describe(reader)
      try description.validate()
    } catch let error as ConfigurationError {
      throw fail("is of a model that cannot be: \(error)")
    } catch let error as LayerError {
      throw fail("is of a model that cannot be: \(error)")
    }
  }

  /// Reads the weights.
  ///
  /// - Parameter dtype: that of the model; nil for that of the file's embedding.
  /// - Throws: `TensorError.file(path:reason:)` if a tensor is missing or left over, or of another shape.
  public func checkpoint(dtype: DType? = nil) throws -> Checkpoint {
    let stored = try file.dtype(of: "emb.weight")
    let dtype = dtype ?? stored
    let shapes = ParameterScope.shapes()
    _ = try LanguageModel(description, scope: shapes)
    var read: Set<String> = []
    let parameters = try Parameters(
      zip(shapes.parameters.paths, shapes.parameters.tensors).map { path, shape in
        let source = Self.source(of: path)
        read.insert(source.name)
        var tensor = try file.tensor(named: source.name)
        if source.isTransposed, tensor.rank == 2 { tensor = try tensor.transposed() }
        guard tensor.elementCount == shape.elementCount,
          tensor.shape.filter({ $0 != 1 }) == shape.shape.filter({ $0 != 1 })
        else {
          throw TensorError.file(
            path: file.path,
            reason: "has \"\(source.name)\" of \(tensor.shape) for \(path) of \(shape.shape)")
        }
        return (path, try tensor.contiguous().reshaped(shape.shape).cast(to: dtype))
      })
    // The first layer has no values to mix with, though some files have the tensors.
    let leftOver = file.names.filter {
      !read.contains($0) && !["v0", "v1", "v2"].contains($0.replacing("blocks.0.att.", with: ""))
    }
    guard leftOver.isEmpty else {
      throw TensorError.file(
        path: file.path, reason: "has \(leftOver.joined(separator: ", ")), which RWKV-7 has not")
    }
    return Checkpoint(
      description: description,
      format: .published(
        configuration.replacing(
          "\"dtype\": \"\(stored.rawValue)\"", with: "\"dtype\": \"\(dtype.rawValue)\"")),
      parameters: parameters)
  }

  /// The file's name of a parameter, and whether it is transposed there.
  static func source(of path: String) -> (name: String, isTransposed: Bool) {
    let whole = [
      "model.embeddings.weight": "emb.weight", "lm_head.weight": "head.weight",
      "model.norm.weight": "ln_out.weight", "model.norm.bias": "ln_out.bias",
    ]
    if let name = whole[path] { return (name, false) }
    var parts = path.split(separator: ".").map(String.init)
    guard parts.count > 3 else { return (path, false) }
    let block = "blocks.\(parts[2])."
    parts.removeFirst(3)
    let rest = parts.dropFirst().joined(separator: ".")
    let norms = ["pre_norm": "ln0", "attn_norm": "ln1", "ffn_norm": "ln2"]
    if let norm = norms[parts[0]] { return (block + norm + "." + rest, false) }
    guard parts[0] == "attn" else { return (block + "ffn." + rest, false) }
    // w_lora.lora.0.weight is w1, .2.weight is w2 and .2.bias is w0.
    if parts[1].hasSuffix("_lora") {
      let number = rest.hasSuffix("0.weight") ? "1" : rest.hasSuffix("2.weight") ? "2" : "0"
      return (block + "att.\(parts[1].prefix(1))\(number)", number != "0")
    }
    let layers = [
      "r_proj": "receptance", "k_proj": "key", "v_proj": "value", "o_proj": "output",
      "g_norm": "ln_x",
    ]
    guard let layer = layers[parts[1]] else { return (block + "att." + rest, false) }
    return (block + "att." + layer + "." + parts.dropFirst(2).joined(separator: "."), false)
  }
}
