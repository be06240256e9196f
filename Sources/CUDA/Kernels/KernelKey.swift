/// Everything that machine code depends on: equal keys share it.
struct KernelKey: Hashable, Sendable {
  var source: KernelSource
  var options: [String]
  /// Such as `sm_90a`.
  var architecture: String
  /// The compiler's version.
  var compiler: String

  /// A hash of all fields, the name of the entry. Every part is preceded by its length, so that distinct
  /// keys never give the same text.
  var hash: String {
    let files = ([source.main] + source.headers).flatMap { [$0.name, $0.text] }
    let parts = [architecture, compiler, "\(options.count)"] + options + files
    return SHA256.hexadecimal(parts.map { "\($0.utf8.count):\($0)" }.joined().utf8)
  }
}
