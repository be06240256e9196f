/// What a compiled kernel depends on: all that must be equal for machine code to be used again.
struct KernelKey: Hashable, Sendable {
  var source: KernelSource
  var options: [String]
  /// As `sm_90a`.
  var architecture: String
  /// The compiler's version.
  var compiler: String

  /// A hash of all of it, by which the machine code is found. Every part is written with its length,
  /// so that no two keys have the same text.
  var hash: String {
    let files = ([source.main] + source.headers).flatMap { [$0.name, $0.text] }
    let parts = [architecture, compiler, "\(options.count)"] + options + files
    return SHA256.hexadecimal(parts.map { "\($0.utf8.count):\($0)" }.joined().utf8)
  }
}
