import AttentionCUDAKernels
import TestSupport
import Testing

@testable import AttentionCUDA

/// The small kernels that explain the tile headers compute matrix products.
@Suite(.onGPU) struct LadderTests {
  struct Step: Sendable {
    let name: String
    /// Rows and columns of c that a block computes.
    let tile: (rows: Int, columns: Int)
    let sharedBytes: Int
    var threads = 256
    var isSpecific = false
    var isMapped = false
  }

  static let steps = [
    Step(name: "1_naive", tile: (16, 16), sharedBytes: 0),
    Step(name: "2_shared", tile: (128, 128), sharedBytes: 2 * 16 * 132 * 4),
    Step(name: "3_fragments", tile: (128, 128), sharedBytes: 2 * 128 * 64 * 2),
    Step(name: "4_pipeline", tile: (128, 128), sharedBytes: 3 * 2 * 128 * 64 * 2),
    Step(
      name: "5_warpgroup", tile: (128, 128), sharedBytes: 3 * 2 * 128 * 64 * 2, isSpecific: true),
    Step(
      name: "6_tma", tile: (256, 128), sharedBytes: 4 * 3 * 128 * 64 * 2 + 8 * 8, threads: 384,
      isSpecific: true, isMapped: true),
  ]

  @Test(arguments: steps) func multiplies(_ step: Step) throws {
    let device = try CUDADevice.at(0)
    // wgmma and TMA need Hopper.
    guard !step.isSpecific || device.limits.capability == 90 else { return }
    let (m, n, k) = (256, 128, 320)
    // Small integers: every product and sum is exact.
    func number(_ row: Int, _ column: Int, _ seed: Int) -> Int {
      (row * 31 + column * 17 + seed + row * column) % 7 - 3
    }
    func matrix(_ rows: Int, _ seed: Int) -> [UInt16] {
      (0..<rows * k).map { place in
        UInt16(Float(number(place / k, place % k, seed)).bitPattern >> 16)
      }
    }
    let stream = try Stream(device)
    func upload(_ values: [UInt16]) throws -> DeviceMemory {
      try values.withUnsafeBytes { bytes in
        let memory = try DeviceMemory(bytes.count, for: "matrix", in: stream)
        try stream.copy(bytes, to: memory)
        try stream.synchronize()
        return memory
      }
    }
    let (a, b) = (try upload(matrix(m, 1)), try upload(matrix(n, 2)))
    var c = [Float](repeating: .nan, count: m * n)
    let memory = try DeviceMemory(c.count * 4, for: "product", in: stream)
    let variant = KernelVariant(
      source: "ladder/\(step.name).cu", function: "ladder_\(step.name)", definitions: [],
      sharedBytes: step.sharedBytes, isSpecific: step.isSpecific)
    func launch(_ parameters: some BitwiseCopyable) throws {
      try device.module(variant).launch(
        grid: (n / step.tile.columns, m / step.tile.rows, 1), threads: step.threads,
        sharedBytes: step.sharedBytes, parameters, in: stream)
    }
    func map(_ matrix: DeviceMemory, _ count: Int, rows: Int) throws -> TensorMap {
      let pitch = k * MemoryLayout<UInt16>.size
      return try TensorMap(
        base: matrix.address, shape: [1, count, 1, k],
        strides: (batch: pitch, row: pitch, head: pitch), isBFloat16: true, rows: rows, columns: 64,
        on: device)
    }
    let parameters = LadderParameters(
      a: a.address, b: b.address, c: memory.address, m: Int32(m), n: Int32(n), k: Int32(k))
    if step.isMapped {
      try launch(
        LadderMappedParameters(
          a: map(a, m, rows: step.tile.rows), b: map(b, n, rows: step.tile.columns),
          product: parameters))
    } else {
      try launch(parameters)
    }
    try c.withUnsafeMutableBytes { try stream.copy(memory, to: $0) }
    try stream.synchronize()
    for row in 0..<m {
      for column in 0..<n {
        let sum = (0..<k).reduce(0) { $0 + number(row, $1, 1) * number(column, $1, 2) }
        guard c[row * n + column] == Float(sum) else {
          Issue.record("\(step.name) [\(row), \(column)]: \(c[row * n + column]), not \(sum)")
          return
        }
      }
    }
  }
}
