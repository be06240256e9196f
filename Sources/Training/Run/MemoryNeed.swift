import AttentionCLibrary
import AttentionLanguageModels
import AttentionLayers
import AttentionTensors

/// The memory that a run needs at least, known before it starts: a run that certainly does not fit is
/// refused with a message, instead of being killed by the system without one.
///
/// It is a lower bound. What else a step takes depends on the kernels.
struct MemoryNeed {
  /// Parameters, their gradients and the optimizer's two moments, float32.
  private static let copies = 4

  let parameterBytes: Int
  let tokenBytes: Int

  init(of model: TrainedModel, _ settings: TrainingSettings) throws {
    let scope = ParameterScope.shapes()
    _ = try LanguageModel(model.description, scope: scope)
    parameterBytes = scope.parameters.count * MemoryLayout<Float>.size
    // The token and its target; the input of each layer, kept for its gradients.
    let each =
      2 * MemoryLayout<Int32>.size
      + model.description.layers.count * model.description.hiddenSize
      * settings.precision.dtype.size
    let (bytes, overflows) = (settings.batchSize * settings.length)
      .multipliedReportingOverflow(by: each)
    tokenBytes = overflows ? .max / 2 : bytes
  }

  /// Throws ``TrainingError/outOfMemory(_:neededBytes:availableBytes:)`` if the machine does not have that
  /// much. A run on a GPU only draws and saves its parameters in host memory.
  func check(_ settings: TrainingSettings, on device: Device) throws {
    guard device == .cpu else {
      return try MemoryLimit.require(parameterBytes, "the model's parameters need")
    }
    try MemoryLimit.require(
      Self.copies * parameterBytes, "the model, its gradients and the optimizer's moments need")
    try MemoryLimit.require(
      Self.copies * parameterBytes + tokenBytes,
      "a step with training.batch_size \(settings.batchSize) and training.length "
        + "\(settings.length) needs")
  }
}

/// Checks for memory before it is needed.
enum MemoryLimit {
  /// Throws ``TrainingError/outOfMemory(_:neededBytes:availableBytes:)`` if `bytes` cannot be allocated.
  ///
  /// - Parameter purpose: the start of the message, such as "the text needs".
  static func require(_ bytes: Int, _ purpose: String) throws {
    let available = min(MachineMemory.bytes, processLimit(RLIMIT_AS), processLimit(RLIMIT_DATA))
    guard bytes > available || !isGranted(bytes) else { return }
    throw TrainingError.outOfMemory(
      purpose, neededBytes: bytes, availableBytes: min(available, bytes - 1))
  }

  /// Whether the system grants that much at once. The memory is not touched, so this takes no time.
  private static func isGranted(_ bytes: Int) -> Bool {
    guard let memory = malloc(max(1, bytes)) else { return false }
    free(memory)
    return true
  }

  /// What is left of a limit on this process, such as that of `ulimit -v`.
  private static func processLimit(_ resource: __rlimit_resource) -> Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0,
      limit.rlim_cur != rlim_t.max
    else { return .max }
    let pages = pages
    let field = resource == RLIMIT_AS ? 0 : 5
    let used = field < pages.count ? pages[field] * sysconf(Int32(_SC_PAGESIZE)) : 0
    return max(0, Int(clamping: limit.rlim_cur) - used)
  }

  /// The process's pages by kind: total, resident, shared, code, unused, data.
  private static var pages: [Int] {
    guard let file = fopen("/proc/self/statm", "re") else { return [] }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    guard fgets(&line, Int32(line.count), file) != nil else { return [] }
    let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    return text.split(whereSeparator: \.isWhitespace).map { Int($0) ?? 0 }
  }
}
