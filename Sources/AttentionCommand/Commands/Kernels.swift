import ArgumentParser
import CUDA

/// `attention kernels`
struct Kernels: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The compiled GPU kernels on disk: lists them, or removes them.",
    discussion: """
      GPU kernels are compiled when they are first used, and kept. \(KernelCache.variable) names the \
      folder.
      """)

  @Flag(help: "Remove them all; they are compiled again when they are used.")
  var clear = false

  func run() throws {
    let cache = try KernelCache.shared()
    guard !clear else {
      let count = try cache.clear()
      print("\(count) compiled kernels removed from \(cache.folder)")
      return
    }
    let entries = cache.entries
    let bytes = entries.reduce(0) { $0 + $1.bytes }
    for entry in entries { print("\(entry.name)  \(entry.bytes) bytes") }
    print("\(entries.count) compiled kernels, \(bytes) bytes, in \(cache.folder)")
    print("sources: \(KernelSource.names.joined(separator: ", "))")
  }
}
