import AttentionCLibrary

/// Listing and creating folders.
package enum Folder {
  /// The names in the folder at `path` except `.` and `..`, unsorted; empty if it cannot be read. Names that
  /// are not UTF-8 are left out: no string can name their files.
  package static func contents(_ path: String) -> [String] {
    ((try? names(in: Array(path.utf8))) ?? []).compactMap { String(validating: $0, as: UTF8.self) }
  }

  /// The names in the folder at `path` as raw bytes, except `.` and `..`, unsorted.
  ///
  /// - Throws: ``FileProblem`` if the folder cannot be read.
  package static func names(in path: [UInt8]) throws -> [[UInt8]] {
    guard let folder = opendir(path.map(CChar.init(bitPattern:)) + [0]) else {
      throw FileProblem.system("the folder cannot be read")
    }
    defer { closedir(folder) }
    var names: [[UInt8]] = []
    errno = 0
    while let entry = readdir(folder) {
      let start = UnsafeRawPointer(entry) + nameOffset
      let name = Array(
        UnsafeRawBufferPointer(
          start: start, count: strlen(start.assumingMemoryBound(to: CChar.self)))
      )
      if name != [dot], name != [dot, dot] { names.append(name) }
      errno = 0
    }
    guard errno == 0 else { throw FileProblem.system("the folder cannot be read") }
    return names
  }

  private static let dot = UInt8(ascii: ".")
  /// Offset of the name in a `dirent` record, which is only as long as its name.
  private static let nameOffset = MemoryLayout<dirent>.offset(of: \.d_name) ?? 0

  /// Creates the folder at `path` and its missing parents.
  ///
  /// - Parameter mode: permissions of the folders created; by default the owner's only.
  /// - Throws: ``FileProblem`` if it cannot be created.
  package static func create(_ path: String, mode: mode_t = 0o700) throws {
    var status = stat()
    if stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFDIR else {
        throw FileProblem("cannot be made: \(path) is not a folder")
      }
      return
    }
    if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      try create(String(path[..<slash]), mode: mode)
    }
    guard mkdir(path, mode) == 0 || errno == EEXIST else {
      throw FileProblem.system("cannot be made")
    }
  }
}
