import CUDA
import Tensors

/// Small operands of a launch, held on the device as long as this object lives.
final class FlashOperands {
  private let copies: DeviceCopies
  private var held: [DeviceMemory] = []

  init(_ copies: DeviceCopies) { self.copies = copies }

  /// The address of a copy; 0, the null pointer, where there is nothing to copy.
  func address<T: BitwiseCopyable>(_ values: [T]?, _ label: String) throws -> UInt64 {
    try hold(values.map { try copies.upload($0, label) })
  }

  func address(_ tensor: Tensor?, _ label: String) throws -> UInt64 {
    try hold(tensor.map { try copies.upload(bytes: $0.contiguous(), label) })
  }

  /// The address of fresh memory.
  func fresh(_ byteCount: Int, _ label: String) throws -> UInt64 {
    try hold(copies.memory(byteCount, label))
  }

  private func hold(_ memory: DeviceMemory?) -> UInt64 {
    guard let memory else { return 0 }
    held.append(memory)
    return memory.address
  }
}

/// A sequence as `attention/mask.cuh` declares it.
struct DeviceSegment: BitwiseCopyable {
  var batch: Int32
  var queryStart: Int32
  var queryCount: Int32
  var keyStart: Int32
  var place: Int32
  var low: Int32
  var high: Int32
  var keys: Int32

  /// Outside every sequence, with room for adding a place.
  private static let unlimited = 1 << 29

  /// - Parameter alignment: which key query 0 stands at.
  init(_ segment: ExactInputs.Segment, _ alignment: Alignment) {
    func limited(_ place: Int) -> Int32 {
      Int32(max(-Self.unlimited, min(Self.unlimited, place)))
    }
    batch = Int32(segment.batch)
    queryStart = Int32(segment.queryStart)
    queryCount = Int32(segment.queryCount)
    keyStart = Int32(segment.keyStart)
    place = alignment == .bottomRight ? Int32(segment.keyCount - segment.queryCount) : 0
    low = limited(segment.band.low)
    high = limited(segment.band.high)
    keys = Int32(segment.keyCount)
  }
}

/// What is done to scores, as `attention/terms.cuh` declares it.
struct DeviceTerms: BitwiseCopyable {
  private struct TwoParts: BitwiseCopyable {
    var large: Float
    var small: Float

    init(_ number: Double) {
      large = Float(number)
      small = Float(number - Double(large))
    }
  }

  var softcap: Float
  var unused: Int32 = 0
  var slopes: UInt64
  var bias: UInt64
  var biasBatch: Int64
  var biasHead: Int64
  var biasQuery: Int64
  var biasKey: Int64
  var decaySums: UInt64

  init(_ inputs: ExactInputs, _ operands: FlashOperands) throws {
    softcap = inputs.softcap ?? 0
    slopes = try operands.address(inputs.slopes, "ALiBi slopes")
    decaySums = try operands.address(inputs.decaySums?.map(TwoParts.init), "logit decay")
    // A bias travels in its own shape; axes along which it broadcasts have no stride.
    var strides: [Int64] = [0, 0, 0, 0]
    if let full = inputs.bias, let own = inputs.biasShape {
      bias = try operands.address(full.collapsed(to: own), "bias")
      let missing = full.rank - own.rank
      for (axis, stride) in own.contiguousStrides.enumerated() where own[axis] != 1 {
        strides[missing + axis] = Int64(stride)
      }
    } else {
      bias = 0
    }
    (biasBatch, biasHead, biasQuery, biasKey) = (strides[0], strides[1], strides[2], strides[3])
  }
}
