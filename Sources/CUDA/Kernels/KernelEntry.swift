import AttentionCLibrary

/// Entries of the kernel cache, files of a private folder: `<hash>.cubin`, its lock `<hash>.lock`, and
/// `<hash>.<random>.unfinished` while the entry is being written.
extension PrivateFolder {
  /// An upper bound on the size of any kernel.
  private static let mostBytes = 64 << 20
  private static let title = "swift-attention kernel 1"
  private static let suffix = "cubin"
  private static let unfinishedSuffix = "unfinished"
  /// The suffix of an entry's lock.
  static let lockSuffix = "lock"

  private static func head(_ hash: String, _ code: ArraySlice<UInt8>) -> [UInt8] {
    Array("\(title)\n\(hash)\n\(SHA256.hexadecimal(code))\n".utf8)
  }

  /// The hash at the beginning of the name and the parts after its dots; nil for files of other kinds.
  private static func parts(of name: String) -> (hash: String, rest: [Substring])? {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts[0].utf8.count == SHA256.hexadecimalCount, parts[0].allSatisfy(\.isLowerHexadecimal)
    else { return nil }
    return (String(parts[0]), Array(parts.dropFirst()))
  }

  /// The machine code of an entry; nil if it is absent or does not match its header.
  func code(_ hash: String) -> [UInt8]? {
    guard let bytes = try? file("\(hash).\(Self.suffix)")?.bytes(atMost: Self.mostBytes) else {
      return nil
    }
    let headCount = Self.head(hash, []).count
    guard bytes.count > headCount else { return nil }
    let code = bytes[headCount...]
    return bytes.starts(with: Self.head(hash, code)) ? Array(code) : nil
  }

  /// Writes an entry under a temporary name and renames it. Entries are verified when read, so no fsync
  /// is needed.
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

  /// The size of the entry `name`; nil if its name or header is not that of an entry.
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

  /// Whether `name` is a lock or an unfinished entry left by a process.
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

/// The exclusive right to compile an entry, released on deinitialisation and when the process ends.
final class KernelLock {
  private let descriptor: Int32
  private static let pause: Duration = .milliseconds(20)

  /// Waits for another process that holds the lock.
  ///
  /// - Throws: ``FileProblem`` if the lock is still held after `patience`, or cannot be taken.
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

  deinit {
    // A child process that another thread has just forked holds the descriptor, and with it the lock, until it
    // executes its program.
    flock(descriptor, LOCK_UN)
    close(descriptor)
  }
}
