import AttentionCLibrary
import AttentionTensors

/// The exclusive use of a run's folder: a lock on a file in it, which the system releases when the process
/// ends, however it ends.
final class RunLock {
  /// The locked file. It names the holder and is empty if there is none.
  static let file = ".lock"

  private let descriptor: Int32
  /// Whether others are kept out; false if the file system does not support locks.
  let isExclusive: Bool

  /// Locks the folder, which must exist.
  ///
  /// - Throws: ``TrainingError/inUse(folder:by:)`` if another run holds the lock,
  ///   ``TrainingError/notWritten(path:reason:)`` if the file cannot be created.
  init(folder: String) throws {
    let path = folder + "/" + Self.file
    let ownerWrites: mode_t = 0o644
    descriptor = open(
      path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, ownerWrites)
    guard descriptor >= 0 else { throw TrainingError.notWritten(path: path) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw TrainingError.notWritten(path: path, reason: "it is not a regular file")
    }
    isExclusive = flock(descriptor, LOCK_EX | LOCK_NB) == 0
    if !isExclusive {
      let code = errno
      // A network file system may not support locks.
      guard [ENOLCK, ENOSYS, ENOTSUP].contains(code) else {
        // Initialised as a whole, the object is closed by `deinit`; a second time would close another's file.
        guard code == EWOULDBLOCK else { throw TrainingError.notWritten(path: path) }
        throw TrainingError.inUse(folder: folder, by: Self.holder(descriptor))
      }
      return
    }
    let text = Array("process \(getpid()) on \(Self.host) since \(Self.now)\n".utf8)
    // Naming the holder is optional, so failures are ignored.
    ftruncate(descriptor, 0)
    _ = write(descriptor, text, text.count)
  }

  deinit {
    if isExclusive {
      ftruncate(descriptor, 0)
      // A child process that another thread has just forked holds the descriptor, and with it the lock, until
      // it executes its program.
      flock(descriptor, LOCK_UN)
    }
    close(descriptor)
  }

  /// The holder's description in the lock file.
  private static func holder(_ descriptor: Int32) -> String {
    let longest = 256
    var bytes = [UInt8](repeating: 0, count: longest)
    let count = pread(descriptor, &bytes, longest, 0)
    let printable = bytes.prefix(max(0, count)).filter { (0x20..<0x7F).contains($0) }
    return printable.isEmpty ? "another run" : String(decoding: printable, as: UTF8.self)
  }

  private static var host: String {
    var system = utsname()
    guard uname(&system) == 0 else { return "this machine" }
    return withUnsafeBytes(of: &system.nodename) { name in
      String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
    }
  }

  private static var now: String {
    var seconds = time(nil)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    var text = [CChar](repeating: 0, count: 32)
    strftime(&text, text.count, "%Y-%m-%d %H:%M:%S UTC", &parts)
    return text.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
  }
}
