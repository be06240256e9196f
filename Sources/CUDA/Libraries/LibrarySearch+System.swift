import AttentionCLibrary

extension LibrarySearch {
  /// The search with this machine's environment and folders.
  static var system: LibrarySearch {
    LibrarySearch(
      environment: { getenv($0).map { String(cString: $0) } }, contents: Folder.contents)
  }

  /// Opens the first candidate for `library` that can be opened: files in known folders, and names that the
  /// dynamic linker resolves.
  ///
  /// - Parameter open: opens a file, or returns why it cannot.
  /// - Returns: the path or name that was opened.
  /// - Throws: ``CUDAError/unavailable(_:)`` that says where the library was looked for, why each candidate
  ///   could not be opened, and what to install.
  func open(_ library: Library, with open: (String) -> String?) throws -> String {
    var reasons: [String] = []
    // The driver must match the kernel module; the linker knows which one does, so it is tried first.
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
