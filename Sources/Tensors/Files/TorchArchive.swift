import AttentionCUDA

/// The directory of an archive that PyTorch writes: ZIP without compression, with 64-bit sizes where they are needed.
struct TorchArchive {
  /// The place of a file's bytes in the archive.
  private var places: [String: Range<Int>] = [:]

  private static let directorySignature: UInt64 = 0x0201_4b50
  private static let localSignature: UInt64 = 0x0403_4b50
  private static let endSignature: UInt64 = 0x0605_4b50
  private static let wideEndSignature: UInt64 = 0x0606_4b50
  private static let locatorSignature: UInt64 = 0x0706_4b50
  private static let endSize = 22
  private static let longestComment = 0xFFFF
  /// More than a directory of any model has.
  private static let mostDirectoryBytes = 1 << 28

  /// - Throws: `FileProblem` if the file is no such archive, or is damaged.
  init(_ file: RegularFile) throws {
    let (start, count) = try Self.directory(of: file)
    guard count <= Self.mostDirectoryBytes, start >= 0, start <= file.size - count else {
      throw FileProblem("is damaged: the directory of its archive lies outside of the file")
    }
    var bytes = LittleEndian(try file.bytes(start..<start + count))
    while bytes.place < bytes.count {
      guard try bytes.number(4) == Self.directorySignature else {
        throw FileProblem("is damaged: the directory of its archive is broken")
      }
      try add(&bytes, of: file)
    }
  }

  /// The bytes of a file; nil if there is none.
  ///
  /// - Parameter name: its path without the archive's own folder, such as `data/0`.
  func place(of name: String) -> Range<Int>? { places[name] }

  /// The place of the directory and its size.
  private static func directory(of file: RegularFile) throws -> (start: Int, count: Int) {
    let tailSize = min(file.size, endSize + longestComment)
    let first = file.size - tailSize
    let tail = try file.bytes(first..<file.size)
    let last = stride(from: tailSize - endSize, through: 0, by: -1).first { place in
      var bytes = LittleEndian(tail, at: place)
      return (try? bytes.number(4)) == endSignature
    }
    guard let last else { throw FileProblem("is not an archive of PyTorch's") }
    var bytes = LittleEndian(tail, at: last + 12)
    let (count, start) = (try bytes.integer(4), try bytes.integer(4))
    guard count == 0xFFFF_FFFF || start == 0xFFFF_FFFF else { return (start, count) }
    let locatorSize = 20
    guard last >= locatorSize else { throw FileProblem("is damaged: its archive has no end") }
    var locator = LittleEndian(tail, at: last - locatorSize)
    guard try locator.number(4) == locatorSignature else {
      throw FileProblem("is damaged: its archive has no end")
    }
    _ = try locator.number(4)
    let end = try locator.integer(8)
    let wideSize = 56
    guard end >= 0, end <= file.size - wideSize else {
      throw FileProblem("is damaged: its archive has no end")
    }
    var wide = LittleEndian(try file.bytes(end..<end + wideSize))
    guard try wide.number(4) == wideEndSignature else {
      throw FileProblem("is damaged: its archive has no end")
    }
    wide.place = 40
    let wideCount = try wide.integer(8)
    return (try wide.integer(8), wideCount)
  }

  /// Reads an entry of the directory behind its signature.
  private mutating func add(_ bytes: inout LittleEndian, of file: RegularFile) throws {
    let start = bytes.place - 4
    bytes.place = start + 10
    let method = try bytes.number(2)
    bytes.place = start + 20
    var (packed, size) = (try bytes.integer(4), try bytes.integer(4))
    let lengths = try (0..<3).map { _ in try bytes.integer(2) }
    bytes.place = start + 42
    var header = try bytes.integer(4)
    let name = String(decoding: try bytes.bytes(lengths[0]), as: UTF8.self)
    var extra = LittleEndian(try bytes.bytes(lengths[1]))
    _ = try bytes.bytes(lengths[2])
    while extra.place + 4 <= extra.count {
      let (kind, length) = (try extra.number(2), try extra.integer(2))
      var field = LittleEndian(try extra.bytes(length))
      guard kind == 1 else { continue }
      if size == 0xFFFF_FFFF { size = try field.integer(8) }
      if packed == 0xFFFF_FFFF { packed = try field.integer(8) }
      if header == 0xFFFF_FFFF { header = try field.integer(8) }
    }
    guard method == 0, packed == size else {
      throw FileProblem("has a compressed file \(name), which PyTorch does not write")
    }
    let headerSize = 30
    guard header >= 0, header <= file.size - headerSize else {
      throw FileProblem("is damaged: \(name) lies outside of the file")
    }
    var local = LittleEndian(try file.bytes(header..<header + headerSize))
    guard try local.number(4) == Self.localSignature else {
      throw FileProblem("is damaged: \(name) has no header")
    }
    local.place = 26
    let first = header + headerSize + (try local.integer(2)) + (try local.integer(2))
    guard size >= 0, first <= file.size, size <= file.size - first else {
      throw FileProblem("is truncated: \(name) has \(size) bytes")
    }
    // Every archive has a folder of its own.
    let own = name.firstIndex(of: "/").map { name[name.index(after: $0)...] } ?? name[...]
    places[String(own)] = first..<first + size
  }
}

/// Bytes read one number after the other, the least significant byte first.
struct LittleEndian {
  private let source: [UInt8]
  var place: Int

  init(_ source: [UInt8], at place: Int = 0) {
    self.source = source
    self.place = place
  }

  var count: Int { source.count }

  /// The next bytes.
  ///
  /// - Throws: `FileProblem` if there are fewer.
  mutating func bytes(_ count: Int) throws -> [UInt8] {
    guard count >= 0, place >= 0, place <= source.count, count <= source.count - place else {
      throw FileProblem("is damaged: it ends inside of a number or a name")
    }
    defer { place += count }
    return Array(source[place..<place + count])
  }

  /// The next number of `size` bytes, at most eight.
  mutating func number(_ size: Int) throws -> UInt64 {
    try bytes(size).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// The next number of `size` bytes, which must be one of Swift's.
  mutating func integer(_ size: Int) throws -> Int {
    guard let number = Int(exactly: try number(size)) else {
      throw FileProblem("is damaged: a size is negative")
    }
    return number
  }
}
