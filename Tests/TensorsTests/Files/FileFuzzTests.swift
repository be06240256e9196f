import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionTensors

/// Damaged tensor files give tensors or an error.
@Suite struct FileFuzzTests {
  private let folder = TemporaryFolder()

  private static let words = [
    "F32", "F64", "BF16", "BOOL", "U8", "F8_E4M3", "dtype", "shape", "data_offsets", "__metadata__",
    "[0,0]", "[1,0,1099511627776,8]", "True", "False", "'descr'", "'<f8'", "fortran_order", "(3,)",
    "()",
  ]

  private func seeds() throws -> [[UInt8]] {
    let x = try normal([3, 4], 1, dtype: .float32)
    try Safetensors.write(
      [
        ("x", x), ("y", x.cast(to: .bfloat16).transposed()), ("empty", .zeros([2, 0, 5])),
        ("flags", Tensor([true, false, true])), ("scalar", Tensor([7] as [Int64], [])),
      ], metadata: ["format": "pt", "note": "\"é\n"], to: folder.path("a"))
    try NumPyFile.write(x.transposed(), to: folder.path("b"))
    try NumPyFile.write(Tensor([1, 2, 3] as [Int32]), to: folder.path("c"))
    return ["a", "b", "c"].map(folder.bytes)
  }

  @Test func damagedFilesAreReadOrRefused() throws {
    var mutations = Mutations(of: try seeds(), words: Self.words)
    let path = folder.path("damaged")
    for round in Mutations.rounds(4000) {
      try folder.write("damaged", mutations.next())
      do {
        let file = try SafetensorsFile(path: path)
        // Truncated between reading the header and the tensors, which are then incomplete.
        if round % 4 == 0 { truncate(path, off_t(round % 97)) }
        for name in file.names { _ = try file.tensor(named: name) }
      } catch {
        #expect(error is TensorError && isPresentable(error), "round \(round): \(error)")
      }
      do { _ = try NumPyFile.read(path) } catch {
        #expect(error is TensorError && isPresentable(error), "round \(round): \(error)")
      }
    }
  }
}
