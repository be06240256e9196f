import Glibc

extension LibrarySearch {
  /// The search on this machine.
  static var system: LibrarySearch {
    LibrarySearch(
      environment: { getenv($0).map { String(cString: $0) } }, contents: Folder.contents)
  }

  /// Opens the first file of `library` that can be opened, or lets the dynamic linker find it.
  ///
  /// - Parameter open: opens a file, and returns the reason if it cannot.
  /// - Returns: the file that was opened.
  /// - Throws: ``CUDAError/unavailable(_:)`` that says where the library was looked for, why what
  ///   was found could not be opened, and what to install.
  func open(_ library: Library, with open: (String) -> String?) throws -> String {
    var reasons: [String] = []
    // The driver must fit the kernel's module, and the linker knows which does.
    let candidates =
      library == .driver
      ? library.names + files(for: library) : files(for: library) + library.names
    for path in candidates {
      guard let reason = open(path) else { return path }
      reasons.append(reason)
    }
    let folders = folders(for: library)
    throw CUDAError.unavailable(
      "\(library.names.joined(separator: " or ")) was not found: "
        + "\(reasons.joined(separator: "; ")); looked in the linker's folders and in "
        + "\(folders.joined(separator: ", ")); \(library.remedy)")
  }
}

/// Folders as lists of names.
enum Folder {
  /// The names in the folder at `path` without the dots, unsorted; none if it cannot be read.
  static func contents(_ path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  /// Makes the folder at `path` and those above it where they do not exist.
  ///
  /// - Returns: nil, or the reason why it cannot be made.
  static func create(_ path: String) -> String? {
    var status = stat()
    if stat(path, &status) == 0 {
      return status.st_mode & S_IFMT == S_IFDIR ? nil : "is not a folder"
    }
    if let slash = path.lastIndex(of: "/"), slash != path.startIndex,
      let reason = create(String(path[..<slash]))
    {
      return reason
    }
    let ownerOnly: mode_t = 0o700
    guard mkdir(path, ownerOnly) == 0 || errno == EEXIST else {
      return "cannot be made: \(String(cString: strerror(errno)))"
    }
    return nil
  }
}
