import CPUKernels
import Tensors

/// Turns similarities into scores, a tile at a time: the terms in their order, then the mask.
struct ScoreTile: Sendable {
  let inputs: ExactInputs
  let kernels: cpu_kernels

  /// Whether similarities are capped, so that a backward pass must keep the capped tile.
  var caps: Bool { inputs.softcap != nil }

  /// Whether anything but the mask changes a score.
  var addsTerms: Bool {
    inputs.softcap != nil || inputs.slopes != nil || inputs.bias != nil || inputs.decaySums != nil
  }

  /// - Parameters:
  ///   - segment: the sequence.
  ///   - rows: the tile's queries, counted in the sequence.
  ///   - columns: its keys, counted in the sequence.
  ///   - s: the tile, rows at `stride`.
  ///   - capped: where to leave the tile as it is after the cap, for a backward pass.
  func apply(
    _ segment: ExactInputs.Segment, head: Int, rows: Range<Int>, columns: Range<Int>,
    _ s: UnsafeMutablePointer<Float>, stride: Int, capped: UnsafeMutablePointer<Float>? = nil
  ) {
    let (m, n) = (rows.count, columns.count)
    if let cap = inputs.softcap {
      kernels.softcap(m, n, s, stride, cap)
      capped?.update(from: s, count: (m - 1) * stride + n)
    }
    if let slopes = inputs.slopes {
      let place =
        inputs.problem.alignment == .bottomRight ? segment.keyCount - segment.queryCount : 0
      kernels.add_alibi(m, n, s, stride, slopes[head], rows.lowerBound + place - columns.lowerBound)
    }
    if let bias = inputs.bias {
      let offset =
        segment.batch * bias.strides[0] + head * bias.strides[1]
        + (segment.queryStart + rows.lowerBound) * bias.strides[2]
        + (segment.keyStart + columns.lowerBound) * bias.strides[3]
      bias.withUnsafeRawPointer {
        kernels.add_rows(
          m, n, s, stride, $0.assumingMemoryBound(to: Float.self) + offset, bias.strides[2],
          bias.strides[3])
      }
    }
    if let sums = inputs.decaySums { addDecay(sums, segment, head, rows, columns, s, stride) }
    if let keyMask = inputs.keyMask {
      let first = segment.batch * inputs.problem.keyLength + segment.keyStart + columns.lowerBound
      keyMask.withUnsafeRawPointer {
        kernels.mask_keys(m, n, s, stride, $0.assumingMemoryBound(to: UInt8.self) + first)
      }
    }
    if !segment.band.covers(rows: rows, columns: columns) {
      let shift = rows.lowerBound - columns.lowerBound
      kernels.mask_band(m, n, s, stride, segment.band.low + shift, segment.band.high + shift)
    }
  }

  /// Adds c_i − c_j. The sums are long, so their difference to the tile's first query is taken in
  /// float64 before they become float32.
  private func addDecay(
    _ sums: [Double], _ segment: ExactInputs.Segment, _ head: Int, _ rows: Range<Int>,
    _ columns: Range<Int>, _ s: UnsafeMutablePointer<Float>, _ stride: Int
  ) {
    let problem = inputs.problem
    let base = (segment.batch * problem.heads + head) * problem.queryLength + segment.queryStart
    let origin = sums[base + rows.lowerBound]
    let (m, n) = (rows.count, columns.count)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: m + n) { scratch in
      for r in 0..<m { scratch[r] = Float(sums[base + rows.lowerBound + r] - origin) }
      for c in 0..<n { scratch[m + c] = Float(sums[base + columns.lowerBound + c] - origin) }
      kernels.add_difference(
        m, n, s, stride, scratch.baseAddress!, scratch.baseAddress! + m)
    }
  }
}
