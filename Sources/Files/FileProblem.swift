import AttentionCLibrary

/// Why a file or folder cannot be used, worded to follow its name. The caller knows the name and builds an
/// error from both.
package struct FileProblem: Error, Equatable {
  package let reason: String

  package init(_ reason: String) { self.reason = reason }

  /// `what`, followed by the text of `errno`.
  package static func system(_ what: String) -> FileProblem {
    FileProblem("\(what): \(String(cString: strerror(errno)))")
  }
}
