import AttentionCLibrary

/// Entries of the kernel cache, the files of a private folder: `<hash>.cubin`, beside it `<hash>.lock`, and
/// `<hash>.<random>.unfinished` while it is written.
extension PrivateFolder {
  /// More than any kernel has.
  private static let mostBytes = 64 << 20
  private static let title = "swift-attention kernel 1"
  private static let suffix = "cubin"
  private static let unfinishedSuffix = "unfinished"
  /// What the name of an entry's lock ends in.
  static let lockSuffix = "lock"

  private static func head(_ hash: String, _ code: ArraySlice<UInt8>) -> [UInt8] {
    Array("\(title)\n\(hash)\n\(SHA256.hexadecimal(code))\n".utf8)
  }

  /// The hash that the name of one of these files begins with, and what follows its points; nil for other
  /// names.
  private static func parts(of name: String) -> (hash: String, rest: [Substring])? {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts[0].utf8.count == SHA256.hexadecimalCount, parts[0].allSatisfy(\.isLowerHexadecimal)
    else { return nil }
    return (String(parts[0]), Array(parts.dropFirst()))
  }

  /// The machine code of an entry; nil if there is none or it is not what it says.
  func code(_ hash: String) -> [UInt8]? {
    guard let bytes = try? file("\(hash).\(Self.suffix)")?.bytes(atMost: Self.mostBytes) else {
      return nil
    }
    let headCount = Self.head(hash, []).count
    guard bytes.count > headCount else { return nil }
    let code = bytes[headCount...]
    return bytes.starts(with: Self.head(hash, code)) ? Array(code) : nil
  }

  /// Writes an entry beside its place and renames it. It is checked when it is read, so it need not
  /// have reached the disk.
  func write(_ code: [UInt8], _ hash: String) throws {
    let random = String(UInt64.random(in: 0...UInt64.max), radix: 16)
    let unfinished = "\(hash).\(random).\(Self.unfinishedSuffix)"
    let descriptor = try open(unfinished, isNew: true)
    do {
      defer { close(descriptor) }
      let bytes = Self.head(hash, code[...]) + code
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes {
          AttentionCLibrary.write(descriptor, $0.baseAddress, $0.count)
        }
        guard count >= 0 || errno == EINTR else { throw FileProblem.system("cannot be written") }
        rest = rest.dropFirst(max(0, count))
      }
    } catch {
      try? remove(unfinished)
      throw error
    }
    do { try rename(unfinished, to: "\(hash).\(Self.suffix)") } catch {
      try? remove(unfinished)
      throw error
    }
  }

  /// The size of the entry `name`; nil if that is none, by its name or its first lines.
  func bytes(ofEntry name: String) -> Int? {
    guard let parts = Self.parts(of: name), parts.rest == [Substring(Self.suffix)] else {
      return nil
    }
    let title = Array("\(Self.title)\n\(parts.hash)\n".utf8)
    guard let file = file(name), file.size >= title.count,
      (try? file.bytes(0..<title.count)) == title
    else { return nil }
    return file.size
  }

  /// Whether `name` is a lock, or what a process left of an entry that it wrote.
  func isRemainder(_ name: String) -> Bool {
    guard let parts = Self.parts(of: name), let file = file(name) else { return false }
    if parts.rest == [Substring(Self.lockSuffix)] { return file.size == 0 }
    guard parts.rest.count == 2, parts.rest[1] == Self.unfinishedSuffix else { return false }
    let title = Array(Self.title.utf8)
    let count = min(file.size, title.count)
    return (try? file.bytes(0..<count)) == Array(title.prefix(count))
  }
}

extension Character {
  fileprivate var isLowerHexadecimal: Bool { isHexDigit && isASCII && !isUppercase }
}

/// The right to compile an entry, given back when this value goes, also where the process ends.
final class KernelLock {
  private let descriptor: Int32
  private static let pause: Duration = .milliseconds(20)

  /// Waits for another process that has it.
  ///
  /// - Throws: ``FileProblem`` if it has not ended after `patience`, or there can be no lock.
  init(_ hash: String, in folder: PrivateFolder, _ patience: Duration) throws {
    let name = "\(hash).\(PrivateFolder.lockSuffix)"
    descriptor = try folder.open(name, isNew: false)
    let end = ContinuousClock.now + patience
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR else {
        throw FileProblem.system("\(name) cannot be locked")
      }
      guard ContinuousClock.now < end else {
        throw FileProblem(
          "another process has held \(name) for \(patience.components.seconds) s; end that process "
            + "(fuser names it)")
      }
      usleep(useconds_t(Self.pause / .microseconds(1)))
    }
  }

  deinit { close(descriptor) }
}
