import AttentionCUDA

/// The header of a safetensors file: its length in 8 bytes, little-endian, then JSON that gives each
/// tensor's dtype, shape and byte range in the data that follows.
///
/// Format: https://huggingface.co/docs/safetensors
struct SafetensorsHeader {
  struct Entry {
    let name: String
    /// The name of the element type in the file.
    let element: String
    let shape: Shape
    /// The byte range in the data.
    let range: Range<Int>
  }

  static let lengthSize = 8
  /// The format's limit, so that a damaged length cannot exhaust memory.
  static let lengthLimit = 100_000_000
  static let metadataKey = "__metadata__"

  private(set) var entries: [Entry] = []
  private(set) var metadata: [String: String] = [:]
  /// The offset of the data in the file.
  let dataOffset: Int

  /// Reads and validates the header of a file.
  ///
  /// - Throws: ``MalformedHeader`` if it is invalid, `FileProblem` if it cannot be read.
  init(of file: RegularFile) throws {
    guard file.size >= Self.lengthSize else {
      throw MalformedHeader(
        reason: "is \(file.size) bytes long; a safetensors file has at least \(Self.lengthSize)")
    }
    let length = try file.bytes(0..<Self.lengthSize).reversed().reduce(UInt64(0)) {
      $0 << 8 | UInt64($1)
    }
    guard length <= Self.lengthLimit else {
      throw MalformedHeader(
        reason: "its header has \(length) bytes; the format allows \(Self.lengthLimit)")
    }
    guard Int(length) <= file.size - Self.lengthSize else {
      throw MalformedHeader(
        reason: "is truncated: its header has \(length) bytes, but "
          + "\(file.size - Self.lengthSize) follow")
    }
    dataOffset = Self.lengthSize + Int(length)
    let text = try file.bytes(Self.lengthSize..<dataOffset)
    guard text.first == UInt8(ascii: "{") else {
      throw MalformedHeader(reason: "its header does not begin with '{'")
    }
    try text.withUnsafeBytes { try parse($0) }
    try checkPlaces(dataSize: file.size - dataOffset)
  }

  private mutating func parse(_ text: UnsafeRawBufferPointer) throws {
    var scanner = HeaderScanner(text)
    var names: Set<String> = []
    try scanner.object { scanner, name in
      guard names.insert(name).inserted else {
        throw MalformedHeader(reason: "its header names \"\(name)\" twice")
      }
      if name == Self.metadataKey {
        try scanner.object { scanner, key in
          guard try metadata.updateValue(scanner.string(), forKey: key) == nil else {
            throw MalformedHeader(reason: "its metadata names \"\(key)\" twice")
          }
        }
      } else {
        entries.append(try Self.entry(name, &scanner))
      }
    }
    guard scanner.isAtEnd() else { throw scanner.unexpected("white space") }
  }

  private static func entry(_ name: String, _ scanner: inout HeaderScanner) throws -> Entry {
    var element: String?
    var shape: [Int]?
    var offsets: [Int]?
    try scanner.object { scanner, key in
      let isFirst: Bool
      switch key {
      case "dtype":
        isFirst = element == nil
        element = try scanner.string()
      case "shape":
        isFirst = shape == nil
        shape = try scanner.integers()
      case "data_offsets":
        isFirst = offsets == nil
        offsets = try scanner.integers()
      default:
        throw MalformedHeader(reason: "tensor \"\(name)\" has the unknown key \"\(key)\"")
      }
      guard isFirst else {
        throw MalformedHeader(reason: "tensor \"\(name)\" has the key \"\(key)\" twice")
      }
    }
    guard let element, let shape, let offsets else {
      throw MalformedHeader(
        reason: "tensor \"\(name)\" lacks one of dtype, shape and data_offsets")
    }
    guard offsets.count == 2, offsets[0] <= offsets[1] else {
      throw MalformedHeader(
        reason: "tensor \"\(name)\" has the data_offsets \(offsets); they must be [begin, end] "
          + "with begin ≤ end")
    }
    guard let size = elementSizes[element] else {
      throw MalformedHeader(reason: "tensor \"\(name)\" has the unknown dtype \"\(element)\"")
    }
    let range = offsets[0]..<offsets[1]
    guard let count = try? Shape(shape).validated(elementSize: size) else {
      throw MalformedHeader(reason: "tensor \"\(name)\" has the impossible shape \(shape)")
    }
    guard count * size == range.count else {
      throw MalformedHeader(
        reason: "tensor \"\(name)\" has \(range.count) bytes; \(element) of shape \(shape) "
          + "takes \(count * size)")
    }
    return Entry(name: name, element: element, shape: Shape(shape), range: range)
  }

  /// Requires that the tensors are adjacent and fill the data.
  private func checkPlaces(dataSize: Int) throws {
    var end = 0
    for entry in entries.sorted(by: {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }) {
      guard entry.range.lowerBound == end else {
        let what = entry.range.lowerBound < end ? "overlaps another" : "leaves a hole before it"
        throw MalformedHeader(
          reason: "tensor \"\(entry.name)\" \(what): it begins at byte \(entry.range.lowerBound) "
            + "of the data, not \(end)")
      }
      end = entry.range.upperBound
    }
    guard end == dataSize else {
      let what = dataSize < end ? "is truncated" : "has bytes that belong to no tensor"
      throw MalformedHeader(reason: "\(what): \(dataSize) bytes of data, tensors take \(end)")
    }
  }

  /// The size of every element type of the format that is a whole number of bytes.
  private static let elementSizes = [
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "I16": 2, "U16": 2,
    "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
  ]
}

extension HeaderScanner {
  /// A JSON object; `member` reads the value of each key.
  fileprivate mutating func object(
    _ member: (inout HeaderScanner, String) throws -> Void
  ) throws {
    try expect("{")
    if skip("}") { return }
    repeat {
      let key = try string()
      try expect(":")
      try member(&self, key)
    } while skip(",")
    try expect("}")
  }

  /// A JSON array of integers.
  fileprivate mutating func integers() throws -> [Int] {
    try expect("[")
    var values: [Int] = []
    if skip("]") { return values }
    repeat { values.append(try integer()) } while skip(",")
    try expect("]")
    return values
  }
}
