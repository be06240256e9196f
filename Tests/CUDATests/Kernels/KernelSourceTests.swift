import Testing

@testable import AttentionCUDA

@Suite struct KernelSourceTests {
  /// Included headers are embedded with a source, under the names that it uses.
  @Test func everyIncludeIsCarried() throws {
    #expect(!KernelSource.names.isEmpty)
    for name in KernelSource.names {
      let source = try KernelSource.named(name)
      let headers = Set(source.headers.map(\.name))
      for file in [source.main] + source.headers {
        for line in file.text.split(separator: "\n") where line.hasPrefix("#include") {
          let included = line.split(separator: "\"").dropFirst().first.map(String.init) ?? ""
          #expect(headers.contains(included), "\(file.name): \(line)")
        }
      }
    }
  }

  @Test func anUnknownNameIsAnError() {
    #expect(throws: CUDAError.self) { try KernelSource.named("tile/types.cuh") }
    #expect(throws: CUDAError.self) { try KernelSource.named("nothing.cu") }
  }

  @Test func stringsForC() {
    let strings = ["", "a", "längs"]
    let copies = withCStrings(strings) { pointers in
      (0..<strings.count).map { String(cString: pointers![$0]!) }
    }
    #expect(copies == strings)
  }
}
