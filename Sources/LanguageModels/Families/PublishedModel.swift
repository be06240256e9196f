import AttentionCUDA
import AttentionLayers
import AttentionTensors
import FoundationEssentials

/// A folder of a published model: `config.json`, and its weights in safetensors files, as `transformers` writes
/// them.
///
///     let model = try PublishedModel(folder: "Qwen3-0.6B").checkpoint(dtype: .bfloat16, device: .cuda(0))
///
/// Opening reads the configuration and the headers of the weights.
public struct PublishedModel: Sendable {
  public let folder: String
  /// The `model_type` of its configuration.
  public let family: String
  public let description: ModelDescription
  /// The keys of the configuration that say nothing that this package knows, in alphabetical order.
  public let unreadKeys: [String]
  /// The text of `config.json`.
  private let text: String
  private let weights: Weights

  /// Whether a configuration is of a published model: whether it has a `model_type`.
  package static func isPublished(_ configuration: JSONValue) -> Bool {
    guard case .object(let members) = configuration else { return false }
    return members["model_type"] != nil
  }

  /// Opens the folder.
  ///
  /// - Throws: ``ConfigurationError`` or `TensorError.file(path:reason:)`, which names a missing or damaged file;
  ///   ``CheckpointError``, which names the folder, if the family is unknown or the configuration invalid.
  public init(folder: String) throws {
    let path = folder + "/" + Checkpoint.configurationFile
    self.folder = folder
    text = String(decoding: try JSONValue.text(ofFile: path), as: UTF8.self)
    let json = try JSONValue(json5: text, source: path)
    do {
      let reader = try PublishedConfiguration(json)
      guard let family = try reader.string("model_type") else {
        throw reader.error("model_type", mustBe: "the name of a family of models")
      }
      self.family = family
      description = try ModelFamily.named(family).describe(reader)
      try description.validate()
      reader.passOverWhatIsNotComputed()
      unreadKeys = reader.unread
    } catch let error as ConfigurationError {
      throw CheckpointError(folder: folder, reason: .configuration(error))
    } catch let error as LayerError {
      throw CheckpointError(folder: folder, reason: .layers(error))
    }
    weights = try Weights(folder: folder)
  }

  /// Reads the weights.
  ///
  /// - Parameters:
  ///   - dtype: that of the model; nil for that of the file's first tensor in half precision or float32. Weights
  ///     of others are converted one by one.
  ///   - device: where they go.
  /// - Throws: ``CheckpointError`` if a tensor is missing, left over, or of a shape that the model does not have.
  public func checkpoint(dtype: DType? = nil, device: Device = .cpu) throws -> Checkpoint {
    let dtype = try dtype ?? weights.dtype
    do {
      let unneeded = description.head == nil ? ["lm_head.weight"] : []
      let source = StoredWeights(
        weights, dtype: dtype, device: device, unneeded: unneeded,
        leftOut: description.leftOut)
      let scope = ParameterScope(source, dtype: dtype)
      _ = try LanguageModel(description, scope: scope)
      try scope.requireAllUsed()
      return Checkpoint(
        description: description,
        format: .published(configuration(as: dtype)),
        parameters: scope.parameters)
    } catch let error as LayerError {
      throw CheckpointError(folder: folder, reason: .layers(error))
    }
  }
}

extension PublishedModel {
  /// Files of a folder beside configuration and weights, by the ends of their names: those of tokenizers, of
  /// generation and of chat templates.
  private static let otherFiles = [".json", ".txt", ".model", ".tiktoken", ".jinja"]

  /// Files with such ends that belong to a training run's checkpoint, not to the model.
  private static let filesOfRuns = ["trainer_state.json"]

  /// Copies the files of tokenizers and of generation to another folder.
  ///
  /// - Throws: `TensorError.file(path:reason:)`.
  public func copyOtherFiles(to target: String) throws {
    let others = try AtomicFolder.names(in: folder).sorted().filter { name in
      name != Checkpoint.configurationFile && name != Weights.indexFile
        && !Self.filesOfRuns.contains(name) && Self.otherFiles.contains(where: name.hasSuffix)
    }
    for name in others {
      let path = folder + "/" + name
      let bytes: [UInt8]
      do { bytes = try RegularFile(path: path).bytes(atMost: Self.mostBytes) } catch {
        throw TensorError.file(
          path: path, reason: (error as? FileProblem)?.reason ?? "cannot be read")
      }
      try AtomicFile.write(to: target + "/" + name) { writer in
        try bytes.withUnsafeBytes { try writer.write($0) }
      }
    }
  }

  /// The largest of them that is copied.
  private static let mostBytes = 1 << 30
}

extension PublishedConfiguration {
  /// Keys that every family may have, and that change nothing that a model computes.
  func passOverWhatIsNotComputed() {
    passOver(
      "architectures", "attention_dropout", "attn_implementation", "_attn_implementation",
      "auto_map",
      "bos_token_id", "dtype", "eos_token_id", "hidden_dropout", "initializer_range",
      "max_position_embeddings", "model_type", "output_router_logits", "pad_token_id",
      "pretraining_tp", "router_aux_loss_coef", "torch_dtype", "transformers_version", "use_cache",
      "_name_or_path", "rope_scaling", "rope_theta", "use_sliding_window", "max_window_layers",
      "sliding_window", "resid_pdrop", "embd_pdrop", "cache_implementation", "output_attentions",
      "output_hidden_states", "router_jitter_noise")
  }
}

extension PublishedModel {
  /// The text of the configuration, with the name of its dtype replaced. Otherwise it is as it was read, since
  /// other programs tell 7 from 7.0.
  package func configuration(as dtype: DType) -> String {
    var result = text
    for key in ["dtype", "torch_dtype"] {
      for name in DType.allCases.map(\.rawValue) {
        result = result.replacing(
          "\"\(key)\": \"\(name)\"", with: "\"\(key)\": \"\(dtype.rawValue)\"")
      }
    }
    return result
  }
}

extension ModelDescription {
  /// Throws for sizes that no model has.
  func validate() throws {
    for layer in layers {
      for case .mixer(let mixer) in layer.steps.flatMap(\.parts).map(\.kind) {
        try mixer.validate(hidden: hiddenSize)
      }
    }
  }
}

/// The tensors of a folder: one file, or shards and the index that says which tensor is where.
struct Weights: Sendable {
  static let indexFile = "model.safetensors.index.json"

  let folder: String
  private let files: [SafetensorsFile]
  /// The file of each tensor.
  private let places: [String: Int]
  /// All names, in the order of the files.
  let names: [String]

  /// - Throws: `TensorError.file(path:reason:)`, which names a missing or damaged file.
  init(folder: String) throws {
    self.folder = folder
    let index = folder + "/" + Self.indexFile
    let shards = try Self.exists(index) ? Self.shards(of: index) : [Checkpoint.weightsFile]
    files = try shards.map { try SafetensorsFile(path: folder + "/" + $0) }
    var places: [String: Int] = [:]
    var names: [String] = []
    for (number, file) in files.enumerated() {
      for name in file.names {
        guard places.updateValue(number, forKey: name) == nil else {
          throw TensorError.file(
            path: file.path, reason: "has the tensor \"\(name)\" of another shard too")
        }
        names.append(name)
      }
    }
    (self.places, self.names) = (places, names)
  }

  private static func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: path)
  }

  /// The names of the shards, in order. A shard's name may not lead out of the folder.
  private static func shards(of index: String) throws -> [String] {
    guard case .object(let members) = try JSONValue(json5File: index),
      case .object(let map)? = members["weight_map"]
    else {
      throw TensorError.file(path: index, reason: "has no object weight_map")
    }
    var shards: Set<String> = []
    for (name, value) in map {
      guard case .string(let shard) = value, !shard.isEmpty, !shard.contains("/"), shard != ".."
      else {
        throw TensorError.file(
          path: index, reason: "says that \"\(name)\" is in \(value.summary), no file of the folder"
        )
      }
      shards.insert(shard)
    }
    return shards.sorted()
  }

  func contains(_ name: String) -> Bool { places[name] != nil }

  func tensor(named name: String) throws -> Tensor? {
    guard let place = places[name] else { return nil }
    return try files[place].tensor(named: name)
  }

  /// The dtype of the first tensor that a model can have.
  var dtype: DType {
    get throws {
      for name in names {
        guard let place = places[name] else { continue }
        let dtype = try files[place].dtype(named: name)
        if dtype.isFloatingPoint { return dtype == .float64 ? .float32 : dtype }
      }
      return .float32
    }
  }
}

/// The tensors of a folder as a model's parameters: read when they are asked for, converted and copied to the
/// device one by one, so that no more than one is in memory twice.
private struct StoredWeights: ParameterSource {
  private let weights: Weights
  private let dtype: DType
  private let device: Device
  /// Tensors that may be left over.
  private let unneeded: [String]
  /// The beginnings of the names of others.
  private let leftOut: [String]

  init(_ weights: Weights, dtype: DType, device: Device, unneeded: [String], leftOut: [String]) {
    self.weights = weights
    self.dtype = dtype
    self.device = device
    self.unneeded = unneeded
    self.leftOut = leftOut
  }

  /// The ends of the names of tables that follow from the configuration, and are computed anew: rotary angles,
  /// and the decays of lightning attention.
  private static let tables = [
    ".rotary_emb.inv_freq", ".slope_rate", ".query_decay", ".key_decay", ".diagonal_decay",
  ]

  var paths: [String] {
    weights.names.filter { name in
      !unneeded.contains(name) && !Self.tables.contains(where: name.hasSuffix)
        && !leftOut.contains(where: name.hasPrefix)
    }
  }

  func tensor(at path: String) throws -> Tensor? {
    guard let tensor = try weights.tensor(named: path), tensor.dtype.isFloatingPoint else {
      return nil
    }
    return try tensor.cast(to: dtype).moved(to: device)
  }
}
