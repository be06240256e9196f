import AttentionCLibrary

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
