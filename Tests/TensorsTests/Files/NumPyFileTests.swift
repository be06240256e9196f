import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct NumPyFileTests {
  let folder = TemporaryFolder()

  /// A file as NumPy writes it: magic, version, length, text, data.
  private func file(_ text: String, version: UInt8 = 1, data: [UInt8]) throws -> String {
    let length = text.utf8.count
    let size = version == 1 ? 2 : 4
    var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [version, 0]
    for place in 0..<size { bytes.append(UInt8(length >> (8 * place) & 0xFF)) }
    bytes += Array(text.utf8)
    return try folder.write("file", bytes + data)
  }

  @Test(arguments: DType.allCases.filter { $0 != .bfloat16 })
  func everyTypeSurvivesTheRoundTrip(_ dtype: DType) throws {
    let values = try Tensor([0, 1, 1, 0, 1, 0] as [Float], [2, 3]).cast(to: dtype)
    for view in [
      values, try values.transposed(), try values.reshaped([6]), try values.sliced(0, 0..<0),
      try values.selected(0, 0).selected(0, 1),
    ] {
      try NumPyFile.write(view, to: folder.path("a"))
      let read = try NumPyFile.read(folder.path("a"))
      #expect(read.dtype == dtype)
      #expect(read.shape == view.shape)
      #expect(try read.elements(as: Float.self) == view.elements(as: Float.self))
    }
  }

  @Test func bytesAreExactlyTheFormat() throws {
    try NumPyFile.write(Tensor([1, 2] as [Int32], [1, 2]), to: folder.path("a"))
    let text = "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2), }"
    let padded = text + String(repeating: " ", count: 128 - 10 - text.utf8.count - 1) + "\n"
    #expect(
      folder.bytes("a")
        == [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(padded.utf8)
        + [1, 0, 0, 0, 2, 0, 0, 0])
    try NumPyFile.write(Tensor([1] as [Int32]), to: folder.path("a"))
    #expect(String(decoding: folder.bytes("a"), as: UTF8.self).contains("'shape': (1,), }"))
  }

  @Test(arguments: [1, 2, 3] as [UInt8])
  func everyVersionAndBothOrdersAreRead(_ version: UInt8) throws {
    for (order, expected) in [("False", [0, 1, 2, 3, 4, 5]), ("True", [0, 2, 4, 1, 3, 5])] {
      let text = "{'descr': '|b1', 'fortran_order': \(order), 'shape': (2, 3)}\n"
      #expect(
        try NumPyFile.read(file(text, version: version, data: [0, 1, 0, 1, 1, 0]))
          .elements(as: Int32.self) == expected.map { [0, 1, 0, 1, 1, 0][$0] })
    }
  }

  struct Damage: Sendable, CustomTestStringConvertible {
    let text: String
    var version: UInt8 = 1
    var data = 0
    let reason: String
    var testDescription: String { text }
  }

  @Test(arguments: [
    Damage(text: "{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", data: 4, reason: ">f4"),
    Damage(text: "{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", data: 8, reason: "<c8"),
    Damage(text: "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", data: 4, reason: "True"),
    Damage(text: "{'descr': '<f4', 'fortran_order': False}", data: 4, reason: "lacks one of"),
    Damage(
      text: "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", data: 7,
      reason: "is truncated: 7 bytes of data"),
    Damage(
      text: "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", data: 9,
      reason: "is too long"),
    Damage(
      text: "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
      reason: "impossible shape"),
    Damage(text: "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", reason: "at least 0"),
    Damage(text: "{'a': 1}", reason: "unknown key 'a'"),
    Damage(text: "{}", version: 4, reason: "version 4"),
    Damage(text: "", reason: "its end"),
  ])
  func damageIsNamed(_ damage: Damage) throws {
    let path = try file(
      damage.text, version: damage.version, data: [UInt8](repeating: 0, count: damage.data))
    let error = #expect(throws: TensorError.self) { try NumPyFile.read(path) }
    guard case .file(path, let reason)? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(reason.contains(damage.reason), "\(reason)")
  }

  @Test func everyTruncationIsAnError() throws {
    try NumPyFile.write(Tensor([1, 2] as [Float]), to: folder.path("a"))
    let bytes = folder.bytes("a")
    for count in 0..<bytes.count {
      #expect(throws: TensorError.self, "\(count)") {
        try NumPyFile.read(folder.write("cut", Array(bytes.prefix(count))))
      }
    }
  }

  @Test func bfloat16IsRefusedBeforeAnythingIsWritten() throws {
    let tensor = try Tensor.ones([2], dtype: .bfloat16)
    #expect(throws: TensorError.self) { try NumPyFile.write(tensor, to: folder.path("a")) }
    #expect(folder.names.isEmpty)
  }
}
