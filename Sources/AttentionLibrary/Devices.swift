// The names are those of the C header.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import AttentionOperators
import AttentionInterface
import AttentionCUDA
import AttentionTensors

@c @implementation
public func sa_device_count(_ count: UnsafeMutablePointer<Int32>!) -> sa_status {
  answering {
    guard let count else {
      throw AttentionError.invalidArgument("count", was: "NULL", mustBe: "an address")
    }
    count.pointee = 0
    count.pointee = Int32(try CUDADevice.all().count)
  }
}

@c @implementation
public func sa_device_description(
  _ device: Int32, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
  _ length: UnsafeMutablePointer<Int>!
) -> sa_status {
  answering {
    switch try Device(number: device) {
    case .cpu:
      try give(
        "cpu: \(InstructionSet.current.rawValue), \(Threads.count) threads", text, capacity, length)
    case .cuda(let index):
      let limits = try CUDADevice.at(index).limits
      try give(
        "cuda:\(index): \(limits.name), compute capability \(limits.capability / 10)."
          + "\(limits.capability % 10), \(limits.memoryBytes >> 30) GiB", text, capacity, length)
    }
  }
}

@c @implementation
public func sa_set_threads(_ count: Int32) -> sa_status {
  answering {
    guard count >= 0 else {
      throw AttentionError.invalidArgument(
        "count", was: "\(count)", mustBe: "at least 1, or 0 for as many as there are processors")
    }
    Threads.count = count == 0 ? Threads.available : Int(count)
  }
}
