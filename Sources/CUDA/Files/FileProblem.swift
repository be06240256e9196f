import AttentionCLibrary

/// Why a file or folder cannot be used, in words that follow its name. Whoever asked for it knows the name
/// and makes an error of both.
package struct FileProblem: Error, Equatable {
  package let reason: String

  package init(_ reason: String) { self.reason = reason }

  /// `what` with the reason of the last system call that failed.
  package static func system(_ what: String) -> FileProblem {
    FileProblem("\(what): \(String(cString: strerror(errno)))")
  }
}
