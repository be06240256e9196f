import AttentionOperators
import AttentionCUDA
import AttentionTensors

/// The output of `attention devices --json`.
struct DeviceReport: Encodable {
  let processor: String?
  let instructionSet: String
  let instructionSets: [String]
  let threads: Int
  let processors: Int
  let memoryBytes: Int
  let nominal: Rates
  /// Measured, if requested: a field of its own beside the nominal rates.
  let ceilings: Ceilings?
  let gpus: [GPU]
  /// Why there are no GPUs; nil if there are.
  let withoutGpus: String?

  /// The rates that estimates use.
  struct Rates: Encodable {
    let operationsPerSecond: Double
    let bytesPerSecond: Double
  }

  struct GPU: Encodable {
    let device: String
    let name: String
    let computeCapability: String
    let multiprocessors: Int
    let memoryBytes: Int
    let unusedMemoryBytes: Int
    let nominal: Rates

    init(_ device: CUDADevice) throws {
      let limits = device.limits
      self.device = "cuda:\(device.index)"
      name = limits.name
      computeCapability = "\(limits.capability / 10).\(limits.capability % 10)"
      multiprocessors = limits.multiprocessors
      memoryBytes = limits.memoryBytes
      unusedMemoryBytes = try device.memory().unused
      nominal = Rates(
        operationsPerSecond: limits.halfOperationsPerSecond,
        bytesPerSecond: limits.memoryBytesPerSecond)
    }
  }

  init(ceilings: Ceilings?) {
    let rates = MachineRates.current
    processor = Devices.processorName
    instructionSet = InstructionSet.current.rawValue
    instructionSets = InstructionSet.supported.map(\.rawValue)
    threads = Threads.count
    processors = Threads.processors
    memoryBytes = Devices.memoryBytes
    nominal = Rates(
      operationsPerSecond: rates.operationsPerSecond, bytesPerSecond: rates.bytesPerSecond)
    self.ceilings = ceilings
    do {
      gpus = try CUDADevice.all().map(GPU.init)
      withoutGpus = nil
    } catch {
      gpus = []
      withoutGpus = "\(error)"
    }
  }

  func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encodeIfPresent(processor, forKey: .processor)
    try values.encode(instructionSet, forKey: .instructionSet)
    try values.encode(instructionSets, forKey: .instructionSets)
    try values.encode(threads, forKey: .threads)
    try values.encode(processors, forKey: .processors)
    try values.encode(memoryBytes, forKey: .memoryBytes)
    try values.encode(nominal, forKey: .nominal)
    try values.encode(gpus, forKey: .gpus)
    try values.encodeIfPresent(withoutGpus, forKey: .withoutGpus)
    try ceilings?.encode(to: encoder)
  }

  private enum CodingKeys: CodingKey {
    case processor, instructionSet, instructionSets, threads, processors, memoryBytes, nominal, gpus
    case withoutGpus
  }
}
