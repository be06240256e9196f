import AttentionOperators
import AttentionInterface
import AttentionCUDA
import AttentionTensors

/// What all structs of calls begin with.
protocol InterfaceCall {
  var size: UInt32 { get }
  var device: Int32 { get }
  var stream: UnsafeMutableRawPointer! { get }
  var kernel: UnsafePointer<CChar>! { get }
}

/// Runs the body of an exported function on a call that has the struct's size: no error leaves it.
func answering<Call: InterfaceCall>(
  _ call: UnsafePointer<Call>?, _ body: (UnsafePointer<Call>) throws -> Void
) -> sa_status {
  answering {
    guard let call else {
      throw AttentionError.invalidArgument("call", was: "NULL", mustBe: "the address of a struct")
    }
    // The size alone is certain to be there.
    let size = UnsafeRawPointer(call).load(as: UInt32.self)
    guard Int(size) == MemoryLayout<Call>.size else {
      throw AttentionError.invalidArgument(
        "size", was: "\(size)", mustBe: "\(MemoryLayout<Call>.size), the size of \(Call.self)")
    }
    try body(call)
  }
}

/// Runs the body of an exported function, and makes an error its status and this thread's message.
func answering(_ body: () throws -> Void) -> sa_status {
  withoutActuallyEscaping(body) { body in
    var answer = Answer(body: body)
    let failure = withUnsafeMutablePointer(to: &answer) { answer in
      interface_run(
        { Threads.forgetParent() }, { $0!.assumingMemoryBound(to: Answer.self).pointee.give() },
        answer)
    }
    return failure == 0 ? answer.status : SA_FAILURE
  }
}

/// The body of an exported function, and what came of it.
private struct Answer {
  let body: () throws -> Void
  var status = SA_OK

  mutating func give() {
    do {
      try body()
    } catch {
      interface_set_error("\(error)")
      status = AttentionLibrary.status(of: error)
    }
  }
}

private func status(of error: any Error) -> sa_status {
  switch error {
  case let error as AttentionError:
    switch error {
    case .invalidArgument, .unknownKernel: SA_INVALID_ARGUMENT
    case .kernelObjects, .noKernel: SA_NO_KERNEL
    }
  case let error as TensorError:
    switch error {
    case .invalidArgument: SA_INVALID_ARGUMENT
    case .outOfMemory: SA_OUT_OF_MEMORY
    case .file, .noSecondDerivative: SA_FAILURE
    }
  case let error as CUDAError:
    switch error {
    case .invalidArgument: SA_INVALID_ARGUMENT
    case .outOfMemory: SA_OUT_OF_MEMORY
    case .unavailable: SA_UNAVAILABLE
    case .call, .compilation: SA_DEVICE_FAILURE
    case .cache: SA_FAILURE
    }
  default: SA_FAILURE
  }
}

/// Writes `text` as the functions that give texts promise.
func give(
  _ text: String, _ target: UnsafeMutablePointer<CChar>?, _ capacity: Int,
  _ length: UnsafeMutablePointer<Int>?
) throws {
  guard target != nil || capacity == 0 else {
    throw AttentionError.invalidArgument(
      "text", was: "NULL", mustBe: "an address, or of capacity 0")
  }
  let bytes = text.utf8
  length?.pointee = bytes.count
  guard let target, capacity > 0 else { return }
  let ending = target + min(bytes.count, capacity - 1)
  for (place, byte) in zip(target..<ending, bytes) { place.pointee = CChar(bitPattern: byte) }
  ending.pointee = 0
}
