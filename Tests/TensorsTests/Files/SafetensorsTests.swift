import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct SafetensorsTests {
  let folder = TemporaryFolder()

  /// A file with the given header text and number of data bytes.
  private func file(_ header: String, data: Int = 0, headerLength: UInt64? = nil) throws -> String {
    let length = headerLength ?? UInt64(header.utf8.count)
    return try self.file(Array(header.utf8) + [UInt8](repeating: 0, count: data), length: length)
  }

  private func file(_ content: [UInt8], length: UInt64) throws -> String {
    let prefix = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
    return try folder.write("file", prefix + content)
  }

  @Test func everyTypeSurvivesTheRoundTrip() throws {
    let tensors = try DType.allCases.map { dtype in
      (name: dtype.rawValue, tensor: try Tensor([0, 1, 1, 0, 1, 0] as [Float]).cast(to: dtype))
    }
    try Safetensors.write(tensors, metadata: ["format": "pt"], to: folder.path("a"))
    let file = try SafetensorsFile(path: folder.path("a"))
    #expect(file.names == DType.allCases.map(\.rawValue))
    #expect(file.metadata == ["format": "pt"])
    for (name, tensor) in tensors {
      let read = try file.tensor(named: name)
      #expect(read.dtype == tensor.dtype)
      #expect(try file.dtype(named: name) == tensor.dtype)
      #expect(try file.shape(named: name) == [6])
      #expect(try read.elements(as: Float.self) == [0, 1, 1, 0, 1, 0], "\(name)")
    }
  }

  @Test func bytesAreExactlyTheFormat() throws {
    try Safetensors.write(
      [("b", try Tensor([1, -2] as [Float], [2, 1])), ("a", try Tensor([true]))],
      metadata: ["z": "1", "y": "\"\\\n"], to: folder.path("a"))
    let header =
      #"{"__metadata__":{"y":"\"\\\u000a","z":"1"},"b":{"dtype":"F32","shape":[2,1],"#
      + #""data_offsets":[0,8]},"a":{"dtype":"BOOL","shape":[1],"data_offsets":[8,9]}}"#
    let padded = header + String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
    let expected =
      [UInt8(padded.utf8.count), 0, 0, 0, 0, 0, 0, 0] + Array(padded.utf8)
      + [0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0, 1]
    #expect(folder.bytes("a") == expected)
    let file = try SafetensorsFile(path: folder.path("a"))
    #expect(file.metadata == ["z": "1", "y": "\"\\\n"])
  }

  /// A replaced file is still read as it was opened; a truncated one is an error, and does not affect tensors
  /// that were read before.
  @Test func filesMayChangeWhileTheyAreOpen() throws {
    let path = folder.path("a")
    let last = 99_998..<100_000
    try Safetensors.write([("x", .range(100_000)), ("y", .range(100_000))], to: path)
    let first = try SafetensorsFile(path: path)
    try Safetensors.write([("x", .range(100_000)), ("y", .range(100_000))], to: path)
    let second = try SafetensorsFile(path: path)
    let tensor = try second.tensor(named: "x")
    #expect(truncate(path, 1000) == 0)
    let error = #expect(throws: TensorError.self) { try second.tensor(named: "y") }
    #expect(error?.description.contains("was shortened while it was read") == true)
    #expect(try tensor.sliced(0, last).elements(as: Int32.self) == [99_998, 99_999])
    #expect(
      try first.tensor(named: "y").sliced(0, last).elements(as: Int32.self) == [99_998, 99_999])
  }

  @Test func unalignedTensorsAreCopied() throws {
    try Safetensors.write(
      [("flag", try Tensor([true])), ("x", try Tensor([1.5, 2.5] as [Double]))],
      to: folder.path("a"))
    let tensor = try SafetensorsFile(path: folder.path("a")).tensor(named: "x")
    try tensor.withUnsafeRawPointer { #expect(UInt(bitPattern: $0) % 8 == 0) }
    #expect(try tensor.elements(as: Double.self) == [1.5, 2.5])
  }

  @Test func viewsAreWrittenInRowMajorOrder() throws {
    let x = try Tensor.range(700_000).reshaped([2, 350_000])
    let views: [(name: String, tensor: Tensor)] = [
      ("transposed", try x.transposed()),
      ("expanded", try Tensor.ones([3, 1]).expanded(to: [3, 2])),
      ("oneLongRow", try x.sliced(1, 1..<350_000).unsqueezed(0)),
      ("empty", try x.sliced(0, 1..<1)), ("scalar", try Tensor([7] as [Int64], [])),
    ]
    try Safetensors.write(views, to: folder.path("a"))
    let file = try SafetensorsFile(path: folder.path("a"))
    for (name, view) in views {
      let read = try file.tensor(named: name)
      #expect(read.shape == view.shape, "\(name)")
      let isSame = try read.elements(as: Int64.self) == view.elements(as: Int64.self)
      #expect(isSame, "\(name)")
    }
  }

  @Test func namesMayBeAnyText() throws {
    let names = ["", "a\"b\\c", "\u{0}\u{1F}", "日本", "👩‍👩‍👧", "\u{7F}"]
    try Safetensors.write(names.map { ($0, try .ones([1])) }, to: folder.path("a"))
    #expect(try SafetensorsFile(path: folder.path("a")).names == names)
  }

  @Test func escapesAreRead() throws {
    let path = try file(
      #"{"\u00e9\ud83d\ude00\/\b\f\n\r\t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}} "#,
      data: 1)
    let file = try SafetensorsFile(path: path)
    #expect(file.names == ["é😀/\u{8}\u{C}\n\r\t"])
    #expect(file.contains("é😀/\u{8}\u{C}\n\r\t"))
    #expect(throws: TensorError.self) { try file.tensor(named: file.names[0]) }
    #expect(throws: TensorError.file(path: path, reason: "has no tensor \"x\"")) {
      try file.tensor(named: "x")
    }
  }

  struct Damage: Sendable, CustomTestStringConvertible {
    let header: String
    var data = 0
    var length: UInt64?
    let reason: String
    var testDescription: String { "\(header) with \(data) bytes" }
  }

  private static func x(_ members: String) -> String { "{\"x\":{\(members)}}" }

  /// A file of one tensor that is described so.
  private static func tensor(
    _ shape: String, _ offsets: String, dtype: String = "F32", data: Int = 0, _ reason: String
  ) -> Damage {
    Damage(
      header: x(#""dtype":"\#(dtype)","shape":[\#(shape)],"data_offsets":[\#(offsets)]"#),
      data: data, reason: reason)
  }

  private static func pair(_ second: String, _ offsets: String, data: Int, _ reason: String)
    -> Damage
  {
    Damage(
      header: #"{"x":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},"#
        + #""\#(second)":{"dtype":"I32","shape":[1],"data_offsets":[\#(offsets)]}}"#,
      data: data, reason: reason)
  }

  @Test(arguments: [
    Damage(header: "{}", length: 3, reason: "truncated"),
    Damage(header: "{}", length: 100_000_001, reason: "the format allows 100000000"),
    Damage(header: "{}", length: .max, reason: "the format allows"),
    Damage(header: "", reason: "does not begin with '{'"),
    Damage(header: " {}", reason: "does not begin with '{'"),
    Damage(header: "[]", reason: "does not begin with '{'"),
    Damage(header: "{", reason: "its end"),
    Damage(header: "{}}", reason: "white space"),
    Damage(header: "{}\u{0}", reason: "white space"),
    Damage(header: "{\"x\":1}", reason: "not '{'"),
    Damage(header: "{\"x", reason: "does not end"),
    Damage(header: "{\"\\ud800\":{}}", reason: "surrogate"),
    Damage(header: "{\"\\x\":{}}", reason: "unknown escape"),
    Damage(header: "{\"\n\":{}}", reason: "control character"),
    Damage(header: "{}", data: 1, reason: "belong to no tensor"),
    Damage(header: "{\"__metadata__\":{\"a\":1}}", reason: "not '\"'"),
    Damage(header: "{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", reason: "names \"a\" twice"),
    Damage(header: "{\"__metadata__\":{},\"__metadata__\":{}}", reason: "twice"),
    Damage(header: x(#""dtype":"F32","shape":[1]"#), reason: "lacks one of"),
    Damage(header: x(#""dtype":"F32","dtype":"F32""#), reason: "twice"),
    tensor("", "0,4", dtype: "F31", data: 4, "unknown dtype \"F31\""),
    Damage(
      header: x(#""dtype":"F32","shape":[],"data_offsets":[0,4],"a":1"#), data: 4,
      reason: "unknown key \"a\""),
    tensor("-1", "0,4", data: 4, "whole number of at least 0"),
    tensor("1.0", "0,4", data: 4, "is '.'"),
    tensor("01", "0,4", data: 4, "whole number"),
    tensor("9223372036854775808", "0,4", data: 4, "63 bits"),
    tensor("4294967296,4294967296", "0,0", "impossible shape"),
    tensor("2305843009213693952", "0,0", dtype: "F64", "impossible shape"),
    tensor("2", "0,4", data: 4, "takes 8"),
    tensor("1", "4,0", data: 4, "begin ≤ end"),
    tensor("1", "0", data: 4, "begin ≤ end"),
    tensor("1", "4,8", data: 8, "leaves a hole"),
    tensor("2", "0,8", data: 7, "is truncated"),
    tensor("1", "0,4", data: 5, "belong to no tensor"),
    pair("y", "2,6", data: 6, "overlaps another"),
    pair("x", "4,8", data: 8, "names \"x\" twice"),
    // The same name in another spelling.
    pair(#"\u0078"#, "4,8", data: 8, "names \"x\" twice"),
  ])
  func damageIsNamed(_ damage: Damage) throws {
    let path = try file(damage.header, data: damage.data, headerLength: damage.length)
    let error = #expect(throws: TensorError.self) { try SafetensorsFile(path: path) }
    guard case .file(let named, let reason)? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(named == path)
    #expect(reason.contains(damage.reason), "\(reason)")
  }

  @Test func shortFilesInvalidTextAndMissingFilesAreErrors() {
    let notText = [9, 0, 0, 0, 0, 0, 0, 0] + Array("{\"".utf8) + [0xFF] + Array("\":1}  ".utf8)
    for bytes in [[], [1, 2, 3], notText] as [[UInt8]] {
      #expect(throws: TensorError.self) { try SafetensorsFile(path: folder.write("file", bytes)) }
    }
    #expect(
      throws: TensorError.file(
        path: folder.path("missing"), reason: "cannot be opened: No such file or directory")
    ) { try SafetensorsFile(path: folder.path("missing")) }
    #expect(throws: TensorError.file(path: folder.path, reason: "is not a regular file")) {
      try SafetensorsFile(path: folder.path)
    }
  }

  @Test func everyTruncationIsAnError() throws {
    try Safetensors.write([("x", .ones([3])), ("y", .ones([2]))], to: folder.path("a"))
    let bytes = folder.bytes("a")
    for count in 0..<bytes.count {
      #expect(throws: TensorError.self, "\(count)") {
        try SafetensorsFile(path: folder.write("cut", Array(bytes.prefix(count))))
      }
    }
  }

  @Test func emptyFilesAndEmptyTensorsAreFine() throws {
    #expect(try SafetensorsFile(path: file("{}")).names.isEmpty)
    let path = try file(
      #"{"x":{"dtype":"F32","shape":[3,0],"data_offsets":[0,0]},"#
        + #""y":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)
    #expect(try SafetensorsFile(path: path).tensor(named: "x").shape == [3, 0])
  }

  @Test func boolsOtherThanZeroAndOneAreErrors() throws {
    let header = #"{"x":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}"#
    let path = try file(Array(header.utf8) + [1, 0, 2], length: UInt64(header.utf8.count))
    let file = try SafetensorsFile(path: path)
    #expect(
      throws: TensorError.file(
        path: path, reason: "element 2 of tensor \"x\" is the byte 2; a bool must be 0 or 1")
    ) { try file.tensor(named: "x") }
  }

  @Test func namesThatCannotBeWrittenAreErrors() throws {
    let one = try Tensor.ones([1])
    for tensors in [[("a", one), ("a", one)], [("__metadata__", one)]] {
      #expect(throws: TensorError.self) {
        try Safetensors.write(
          tensors.map { (name: $0.0, tensor: $0.1) }, to: folder.path("a"))
      }
    }
    #expect(folder.names.isEmpty)
  }
}
