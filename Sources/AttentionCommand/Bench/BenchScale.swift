import AttentionTensors

/// The sizes of races on a device: two heads fill a CPU, many a GPU.
struct BenchScale {
  let device: Device
  let isQuick: Bool

  private static let gpuTokens = 16_384
  private static let gpuHidden = 2048

  private var isLarge: Bool { device != .cpu && !isQuick }

  func batch(length: Int) -> Int { isLarge ? max(1, Self.gpuTokens / length) : 1 }

  func heads(dimension: Int) -> Int { isLarge ? Self.gpuHidden / dimension : 2 }

  var exactLengths: [Int] {
    if device != .cpu { return isQuick ? [64, 128] : [1024, 4096, 16_384] }
    return isQuick ? [128, 512] : [128, 256, 512, 1024, 2048, 4096, 8192]
  }

  var linearLengths: [Int] {
    if device != .cpu { return isQuick ? [64, 128] : [4096, 16_384] }
    return isQuick ? [1024, 4096] : [1024, 4096, 16_384, 65_536]
  }

  func scanLengths(isSelective: Bool) -> [Int] {
    if device != .cpu { return isQuick ? [64, 128] : [4096, 16_384] }
    return isQuick ? [512, 1024] : isSelective ? [1024, 4096] : [4096, 16_384]
  }

  /// The length at which another dimension and other dtypes are measured.
  var otherLength: Int {
    if device != .cpu { return isQuick ? 64 : 4096 }
    return isQuick ? 512 : 1024
  }

  /// Moves tensors, which are drawn on the CPU, to the device.
  func place(_ tensors: [Tensor]) throws -> [Tensor] {
    try tensors.map { try $0.moved(to: device) }
  }
}
