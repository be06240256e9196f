import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// The step of a whole model from one token to the logits after it, on a GPU, as one launch of one kernel.
///
/// A step of operations launches several kernels a layer, each of which waits for the one before, and at one
/// token most of its time is the waiting. Here the blocks of one launch pass numbers to each other, and read the
/// weights of later layers while they wait. A ``DecodingBuilder`` makes the program, as a list of stages.
///
/// The program holds the states of the tokens read, and changes them in place. So it has one user.
public final class DecodingProgram: @unchecked Sendable {
  private let queue: DeviceQueue
  private let kernel: DeviceKernel
  private let stages: DeviceMemory
  private let stageCount: Int
  /// What the stages read and write.
  private let kept: [Tensor]
  private let states: [(any DecodedState)?]
  private let vocabularySize: Int
  private let widest, mostUnits: Int
  private var tag: UInt32 = 0

  /// How many tokens have been read.
  public private(set) var tokenCount: Int
  /// How many there is room for.
  public let capacity: Int
  /// The memory of the states.
  public var byteCount: Int { states.reduce(0) { $0 + ($1?.byteCount ?? 0) } }

  init(_ builder: DecodingBuilder) throws {
    queue = try DeviceQueue.shared(for: builder.device)
    let limits = queue.device.limits
    let layout = decoding_layout(builder.widest, builder.mostUnits)
    let hopper = 90
    guard limits.capability >= hopper, layout.end <= limits.sharedBytesPerBlock else {
      throw DecodingObjection(
        limits.capability < hopper
          ? "\(limits.name) is older than compute capability 9.0"
          : "an input needs \(layout.end) bytes of shared memory, and \(limits.name) has "
            + "\(limits.sharedBytesPerBlock) a block")
    }
    kernel = DeviceKernel("decoding/step", element: builder.dtype, sharedBytes: layout.end)
    stages = try queue.upload(builder.stages, "stages of a decoding program")
    stageCount = builder.stages.count
    kept = builder.kept
    states = builder.states
    vocabularySize = builder.vocabularySize
    widest = builder.widest
    mostUnits = builder.mostUnits
    tokenCount = builder.position
    capacity = builder.capacity
  }

  /// Reads a token and returns the logits after it, float32 [1, 1, vocabulary].
  ///
  /// - Parameter token: from 0 to below the vocabulary size.
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)``, or what the GPU reports.
  public func step(_ token: Int32) throws -> Tensor {
    guard token >= 0, Int(token) < vocabularySize else {
      throw LayerError.invalidArgument(
        "tokens", was: "with \(token)", mustBe: "in 0..<\(vocabularySize)")
    }
    guard tokenCount < capacity else {
      throw LayerError.invalidArgument(
        "tokens", was: "after \(tokenCount)", mustBe: "at most \(capacity) in all")
    }
    let logits = try Tensor.onDevice(
      [1, 1, vocabularySize], dtype: .float32, device: .cuda(queue.device.index))
    tag += 1
    // Blocks that wait for each other must run at the same time. Where the device cannot promise it, each
    // stage is a launch.
    let limits = queue.device.limits
    let isWhole = limits.launchesCooperatively
    for first in stride(from: 0, to: stageCount, by: isWhole ? stageCount : 1) {
      try queue.launch(
        kernel, grid: (limits.decodingBlocks, 1, 1), threads: Int(decoding_threads),
        isCooperative: isWhole,
        DecodingStepParameters(
          stages: stages.address, logits: logits.deviceAddress(), first: Int32(first),
          last: Int32(isWhole ? stageCount : first + 1), token: token,
          position: Int32(tokenCount), tag: tag, widest: Int32(widest),
          most_units: Int32(mostUnits)))
    }
    tokenCount += 1
    return logits
  }

  /// Caches with copies of the states, in the order in which the builder got them.
  public func caches() throws -> [(any MixerCache)?] {
    try states.map { try $0?.cache(tokenCount: tokenCount) }
  }
}

extension DeviceLimits {
  /// The blocks of a launch: one for each multiprocessor, which has room for no other beside it. Where stages
  /// are launches of their own, starting blocks is most of the work, so there are few.
  var decodingBlocks: Int { launchesCooperatively ? multiprocessors : min(multiprocessors, 5) }
}

/// Why a model has no ``DecodingProgram``.
public struct DecodingObjection: Error, Hashable, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }
}

/// The states of a mixer in a program.
protocol DecodedState: Sendable {
  var byteCount: Int { get }
  /// A cache with copies.
  func cache(tokenCount: Int) throws -> any MixerCache
}

/// A mixer whose step of one token is a few stages of a ``DecodingProgram``.
protocol DecodedMixer: TokenMixer {
  /// Adds the stages of a token after those in `cache`, the last of which adds to the builder's stream.
  ///
  /// - Returns: the states, which begin as copies of those in `cache`.
  /// - Throws: ``DecodingObjection`` if the kernel does not have what the mixer needs.
  func addStages(
    to program: inout DecodingBuilder, _ step: DecodedStep, after cache: (any MixerCache)?
  ) throws -> any DecodedState
}

extension CheckedKernel {
  /// The step of a model. Its stages are functions that save registers of their caller.
  package static let decoding =
    each("decoding/step.cu", "bfloat16", ["ELEMENT=bf16"], on: [90, 100], isHot: false)
    + each("decoding/step.cu", "float32", ["ELEMENT=f32"], on: [90], isHot: false)
}
