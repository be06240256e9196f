import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionTraining

@Suite struct RunLockTests {
  private func text(_ folder: TemporaryFolder) -> String {
    String(decoding: folder.bytes(RunLock.file), as: UTF8.self)
  }

  @Test func oneAtATimeAndSaysWho() throws {
    let folder = TemporaryFolder()
    var lock: RunLock? = try RunLock(folder: folder.path)
    #expect(lock?.isExclusive == true)
    let holder = text(folder).dropLast()
    #expect(holder.hasPrefix("process \(getpid()) on ") && holder.hasSuffix(" UTC"), "\(holder)")
    #expect(throws: TrainingError.inUse(folder: folder.path, by: String(holder))) {
      _ = try RunLock(folder: folder.path)
    }
    lock = nil
    #expect(text(folder).isEmpty)
    _ = try RunLock(folder: folder.path)
  }

  /// A process that is forked while a run goes on has a copy of the descriptor until it executes its program.
  @Test func aReleasedLockIsFreeThoughACopyOfItsDescriptorIsOpen() throws {
    let folder = TemporaryFolder()
    var lock: RunLock? = try RunLock(folder: folder.path)
    var locked = stat()
    #expect(stat(folder.path(RunLock.file), &locked) == 0 && lock?.isExclusive == true)
    let own = try #require(
      (3..<getdtablesize()).first { descriptor in
        var status = stat()
        return fstat(descriptor, &status) == 0 && status.st_dev == locked.st_dev
          && status.st_ino == locked.st_ino
      })
    let copy = dup(own)
    defer { close(copy) }
    lock = nil
    _ = try RunLock(folder: folder.path)
  }

  /// Closing a descriptor twice closes another thread's file.
  @Test func aRefusedLockIsClosedOnce() throws {
    let folder = TemporaryFolder()
    let lock = try RunLock(folder: folder.path)
    defer { withExtendedLifetime(lock) {} }
    errno = 0
    do {
      _ = try RunLock(folder: folder.path)
      Issue.record("the folder was locked twice")
    } catch {
      #expect(errno != EBADF)
    }
  }

  /// The contents of the file are shown on a terminal.
  @Test func aHolderIsPrintedWithoutControlCharacters() throws {
    let folder = TemporaryFolder()
    let lock = try RunLock(folder: folder.path)
    defer { withExtendedLifetime(lock) {} }
    try folder.write("text", "")
    let file = open(folder.path(RunLock.file), O_WRONLY | O_TRUNC)
    let hostile = "\u{1B}[2Jme\n" + String(repeating: "x", count: 10_000)
    #expect(write(file, hostile, hostile.utf8.count) > 0)
    close(file)
    let error = #expect(throws: TrainingError.self) { _ = try RunLock(folder: folder.path) }
    guard case .inUse(_, let holder)? = error else { return }
    #expect(holder.hasPrefix("[2Jmexxx") && holder.count <= 256)
  }

  @Test func whatIsNoFileIsNotLocked() throws {
    let folder = TemporaryFolder()
    let other = try folder.write("other", "x")
    let path = folder.path(RunLock.file)
    symlink(other, path)
    #expect(throws: TrainingError.notWritten(path: path, reason: "it is a symbolic link")) {
      _ = try RunLock(folder: folder.path)
    }
    unlink(path)
    mkfifo(path, 0o600)
    #expect(throws: TrainingError.notWritten(path: path, reason: "it is not a regular file")) {
      _ = try RunLock(folder: folder.path)
    }
    #expect(folder.bytes("other") == [120])
    #expect(throws: TrainingError.self) { _ = try RunLock(folder: folder.path("absent")) }
  }
}
