import AttentionCUDA

/// The tensors that a pickle of PyTorch describes: names, shapes, and where their elements are.
///
/// A pickle is a program. Of its operations this reads those that `torch.save` writes for a dictionary of tensors; no
/// function is called but those that make tensors, and what else a pickle asks for is an error.
struct TorchPickle {
  struct Entry {
    let name: String
    let shape: Shape
    let element: String
    /// The name of the storage.
    let storage: String
    /// The place of the first element, counted in elements.
    let offset: Int
  }

  /// In the order of the dictionary.
  private(set) var entries: [Entry] = []

  private indirect enum Value {
    case none, mark
    case number(Int)
    case text(String)
    case tuple([Value])
    case function(String)
    case storage(name: String, element: String)
    case tensor(shape: [Int], strides: [Int], element: String, storage: String, offset: Int)
    case dictionary([(key: Value, value: Value)])
    /// A list, a real number, or another value that describes no tensor.
    case other
  }

  private var bytes: LittleEndian
  private var stack: [Value] = []
  private var memory: [Int: Value] = [:]

  /// - Throws: `FileProblem` if the program is broken, does anything else, or gives no dictionary of tensors.
  init(_ program: [UInt8]) throws {
    bytes = LittleEndian(program)
    while try step() {}
    guard case .dictionary(let members)? = stack.last else {
      throw FileProblem("is no dictionary of tensors")
    }
    for (key, value) in members {
      guard case .text(let name) = key, case .tensor = value else { continue }
      entries.append(try Self.entry(name, value))
    }
    guard !entries.isEmpty else { throw FileProblem("is a dictionary without tensors") }
  }

  private static func entry(_ name: String, _ value: Value) throws -> Entry {
    guard case .tensor(let shape, let strides, let element, let storage, let offset) = value else {
      throw FileProblem("has no tensor \"\(name)\"")
    }
    var expected = 1
    for (extent, stride) in zip(shape, strides).reversed() where extent != 1 {
      guard stride == expected, extent >= 0 else {
        throw FileProblem("has the tensor \"\(name)\" as a view; it must be contiguous")
      }
      let (product, overflows) = expected.multipliedReportingOverflow(by: extent)
      guard !overflows else { throw FileProblem("is damaged: \"\(name)\" is too large") }
      expected = product
    }
    return Entry(
      name: name, shape: Shape(shape), element: element, storage: storage, offset: offset)
  }

  /// Runs one operation; false after the last.
  private mutating func step() throws -> Bool {
    switch try bytes.number(1) {
    case 0x2E: return false  // STOP
    case 0x80: _ = try bytes.number(1)  // PROTO
    case 0x95: _ = try bytes.number(8)  // FRAME
    case 0x28: stack.append(.mark)
    case 0x4E: stack.append(.none)
    case 0x88, 0x89, 0x5D: stack.append(.other)  // true, false, an empty list
    case 0x47:  // BINFLOAT
      _ = try bytes.number(8)
      stack.append(.other)
    case 0x4B: stack.append(.number(try bytes.integer(1)))
    case 0x4D: stack.append(.number(try bytes.integer(2)))
    case 0x4A: stack.append(.number(Int(Int32(truncatingIfNeeded: try bytes.number(4)))))
    case 0x8A: stack.append(.number(try longNumber()))
    case 0x58: try pushText(4)
    case 0x8C: try pushText(1)
    case 0x8D: try pushText(8)
    case 0x7D: stack.append(.dictionary([]))
    case 0x29: stack.append(.tuple([]))
    case 0x74: stack.append(.tuple(try popToMark()))
    case let code where (0x85...0x87).contains(code):
      let count = Int(code) - 0x84
      stack.append(.tuple(try (0..<count).map { _ in try pop() }.reversed()))
    case 0x71: try remember(at: bytes.integer(1))
    case 0x72: try remember(at: bytes.integer(4))
    case 0x94: try remember(at: memory.count)
    case 0x68: try recall(from: bytes.integer(1))
    case 0x6A: try recall(from: bytes.integer(4))
    case 0x63: stack.append(.function(try line() + " " + line()))
    case 0x93:  // STACK_GLOBAL
      guard case .text(let name) = try pop(), case .text(let module) = try pop() else {
        throw Self.broken
      }
      stack.append(.function(module + " " + name))
    case 0x51: try pushStorage()
    case 0x52: try call()
    case 0x73: try setItems([try pop(), try pop()].reversed())
    case 0x75: try setItems(popToMark())
    case 0x61: _ = try pop()  // APPEND
    case 0x65: _ = try popToMark()  // APPENDS
    case 0x62: _ = try pop()  // BUILD: attributes of the dictionary
    case 0x30: _ = try pop()
    case let code:
      throw FileProblem("has the pickle operation \(code), which dictionaries of tensors have not")
    }
    return true
  }

  private static let broken = FileProblem("is damaged: its pickle is broken")

  private mutating func pop() throws -> Value {
    guard let value = stack.popLast() else { throw Self.broken }
    if case .mark = value { throw Self.broken }
    return value
  }

  private mutating func popToMark() throws -> [Value] {
    let mark = stack.lastIndex { if case .mark = $0 { true } else { false } }
    guard let mark else { throw Self.broken }
    defer { stack.removeSubrange(mark...) }
    return Array(stack[(mark + 1)...])
  }

  private mutating func remember(at place: Int) throws {
    guard let value = stack.last else { throw Self.broken }
    memory[place] = value
  }

  private mutating func recall(from place: Int) throws {
    guard let value = memory[place] else { throw Self.broken }
    stack.append(value)
  }

  private mutating func pushText(_ size: Int) throws {
    stack.append(.text(String(decoding: try bytes.bytes(bytes.integer(size)), as: UTF8.self)))
  }

  /// A number of up to eight bytes, with a sign.
  private mutating func longNumber() throws -> Int {
    let size = try bytes.integer(1)
    guard size <= 8 else { throw FileProblem("is damaged: a number is too large") }
    guard size > 0 else { return 0 }
    let unused = UInt64(64 - 8 * size)
    return Int(Int64(bitPattern: try bytes.number(size) << unused) >> unused)
  }

  private mutating func line() throws -> String {
    var text: [UInt8] = []
    while true {
      let byte = UInt8(try bytes.number(1))
      guard byte != UInt8(ascii: "\n") else { return String(decoding: text, as: UTF8.self) }
      text.append(byte)
    }
  }

  private mutating func setItems(_ items: [Value]) throws {
    guard items.count % 2 == 0, case .dictionary(var members)? = stack.popLast() else {
      throw Self.broken
    }
    for index in stride(from: 0, to: items.count, by: 2) {
      members.append((items[index], items[index + 1]))
    }
    stack.append(.dictionary(members))
  }

  /// ("storage", type, name, location, count)
  private mutating func pushStorage() throws {
    guard case .tuple(let parts) = try pop(), parts.count >= 3,
      case .text("storage") = parts[0], case .function(let type) = parts[1],
      case .text(let name) = parts[2]
    else { throw Self.broken }
    stack.append(.storage(name: name, element: type))
  }

  private mutating func call() throws {
    guard case .tuple(let arguments) = try pop(), case .function(let name) = try pop() else {
      throw Self.broken
    }
    switch name {
    case "collections OrderedDict" where arguments.isEmpty: stack.append(.dictionary([]))
    case "torch._utils _rebuild_parameter":
      guard let tensor = arguments.first else { throw Self.broken }
      stack.append(tensor)
    case "torch._utils _rebuild_tensor_v2":
      guard arguments.count >= 4, case .storage(let storage, let element) = arguments[0],
        case .number(let offset) = arguments[1], offset >= 0
      else { throw Self.broken }
      let (shape, strides) = (try Self.numbers(arguments[2]), try Self.numbers(arguments[3]))
      guard shape.count == strides.count else { throw Self.broken }
      stack.append(
        .tensor(
          shape: shape, strides: strides, element: element, storage: storage, offset: offset))
    default:
      throw FileProblem("calls \(name), which dictionaries of tensors do not")
    }
  }

  private static func numbers(_ value: Value) throws -> [Int] {
    guard case .tuple(let values) = value else { throw broken }
    return try values.map {
      guard case .number(let number) = $0, number >= 0 else { throw broken }
      return number
    }
  }
}
