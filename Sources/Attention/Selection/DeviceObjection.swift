import AttentionCUDA
import AttentionTensors

extension Objection {
  /// The compute capability from which on kernels run: half precision is converted by its instructions.
  private static let oldestCapability = 80

  /// Why a kernel for GPUs cannot run on `device`; nil if it can.
  static func unlessGPU(_ device: Device) -> Objection? {
    guard case .cuda(let index) = device else {
      return Objection("\(device) asked for; it runs on a GPU")
    }
    do {
      let limits = try CUDADevice.at(index).limits
      return limits.capability >= oldestCapability
        ? nil
        : Objection(
          "\(limits.name) has compute capability \(limits.capability / 10)."
            + "\(limits.capability % 10); it needs \(oldestCapability / 10).\(oldestCapability % 10)"
        )
    } catch {
      return Objection("\(error)")
    }
  }

  /// Why a kernel that counts tokens and blocks in 32 bits cannot run; nil if it can.
  static func beyondGrid(tokens: Int, blocks: Int) -> Objection? {
    let largest = Int(Int32.max)
    guard tokens <= largest, blocks <= largest else {
      return Objection("\(tokens) tokens in \(blocks) blocks; it takes at most \(largest) of each")
    }
    return nil
  }
}
