import AttentionCPUKernels
import AttentionTensors

/// Turns tiles of similarities into scores: applies the terms in order, then the mask.
struct ScoreTile: Sendable {
  let inputs: ExactArguments
  let kernels: cpu_kernels
  private let bias: Bias?
  private let keyMask: HostElements?

  init(_ inputs: ExactArguments, _ kernels: cpu_kernels) throws {
    self.inputs = inputs
    self.kernels = kernels
    bias = try inputs.bias.map(Bias.init)
    keyMask = try inputs.keyMask?.hostElements()
  }

  /// The bias in place, [b,h,t,s].
  private struct Bias: Sendable {
    private let elements: HostElements
    private let elementSize: Int
    let strides: [Int]
    let type: cpu_bias_type

    init(_ tensor: Tensor) throws {
      elements = try tensor.hostElements()
      elementSize = tensor.dtype.size
      strides = tensor.strides
      type = tensor.dtype.biasType
    }

    func at(batch: Int, head: Int, query: Int, key: Int) -> UnsafeRawPointer {
      elements.base
        + (batch * strides[0] + head * strides[1] + query * strides[2] + key * strides[3])
        * elementSize
    }
  }

  /// Whether the key mask leaves a key, counted in the sequence.
  func keeps(_ segment: ExactArguments.Segment, _ key: Int) -> Bool {
    guard let keyMask else { return true }
    let place = segment.batch * inputs.problem.keyLength + segment.keyStart + key
    return keyMask.base.assumingMemoryBound(to: UInt8.self)[place] != 0
  }

  /// Whether any term changes scores.
  var addsTerms: Bool {
    !inputs.problem.terms.isDisjoint(with: .ofScores)
  }

  /// Whether ``apply(_:head:rows:columns:_:stride:isTransposed:capped:)`` changes anything in a tile.
  func changes(_ segment: ExactArguments.Segment, rows: Range<Int>, columns: Range<Int>) -> Bool {
    addsTerms || inputs.keyMask != nil || !segment.band.covers(rows: rows, columns: columns)
  }

  /// Applies terms and mask to a tile.
  ///
  /// - Parameters:
  ///   - segment: the sequence.
  ///   - rows: the tile's queries, as indices in the sequence.
  ///   - columns: its keys, likewise.
  ///   - s: the tile, rows at `stride`.
  ///   - isTransposed: whether a row of the tile is a key.
  ///   - capped: receives the tile after the softcap, for a backward pass.
  func apply(
    _ segment: ExactArguments.Segment, head: Int, rows: Range<Int>, columns: Range<Int>,
    _ s: UnsafeMutablePointer<Float>, stride: Int, isTransposed: Bool = false,
    capped: UnsafeMutablePointer<Float>? = nil
  ) {
    let (m, n) =
      isTransposed ? (columns.count, rows.count) : (rows.count, columns.count)
    // The position of the tile's first query relative to its first key.
    let shift = rows.lowerBound - columns.lowerBound
    if let cap = inputs.cap {
      cap.apply(kernels, m, n, s, stride: stride)
      capped?.update(from: s, count: (m - 1) * stride + n)
    }
    if let slopes = inputs.slopes {
      let place =
        inputs.problem.alignment == .bottomRight ? segment.keyCount - segment.queryCount : 0
      // ALiBi is symmetric in distance, so a transposed tile only negates the offset.
      kernels.add_alibi(
        m, n, s, stride, slopes[head], isTransposed ? -(shift + place) : shift + place)
    }
    if let bias {
      let first = bias.at(
        batch: segment.batch, head: head, query: segment.queryStart + rows.lowerBound,
        key: segment.keyStart + columns.lowerBound)
      let (row, column) =
        isTransposed ? (bias.strides[3], bias.strides[2]) : (bias.strides[2], bias.strides[3])
      kernels.add_bias(bias.type, m, n, s, stride, first, row, column)
    }
    if let sums = inputs.decaySums {
      addDecay(sums, segment, head, rows, columns, s, stride, isTransposed)
    }
    if let keyMask {
      let first = segment.batch * inputs.problem.keyLength + segment.keyStart + columns.lowerBound
      let keep = keyMask.base.assumingMemoryBound(to: UInt8.self) + first
      if isTransposed {
        for c in 0..<m where keep[c] == 0 {
          (s + c * stride).update(repeating: -.infinity, count: n)
        }
      } else {
        kernels.mask_keys(m, n, s, stride, keep)
      }
    }
    if !segment.band.covers(rows: rows, columns: columns) {
      let band = isTransposed ? segment.band.transposed : segment.band
      let shift = isTransposed ? -shift : shift
      kernels.mask_band(m, n, s, stride, band.low + shift, band.high + shift)
    }
  }

  /// Turns gradients of capped scores into those of the scores before the softcap, in place.
  func throughCap(
    _ rows: Int, _ columns: Int, _ capped: UnsafePointer<Float>,
    _ gradient: UnsafeMutablePointer<Float>, stride: Int
  ) {
    inputs.cap?.backward(kernels, rows, columns, capped, gradient, stride: stride)
  }

  /// Adds c_i − c_j. The sums may be large, so the sum at the tile's first query is subtracted in float64
  /// before they are rounded to float32.
  private func addDecay(
    _ sums: [Double], _ segment: ExactArguments.Segment, _ head: Int, _ rows: Range<Int>,
    _ columns: Range<Int>, _ s: UnsafeMutablePointer<Float>, _ stride: Int, _ isTransposed: Bool
  ) {
    let problem = inputs.problem
    let base = (segment.batch * problem.heads + head) * problem.queryLength + segment.queryStart
    // The sum at a masked token may be NaN or infinite.
    let origin = rows.lazy.map { sums[base + $0] }.first(where: \.isFinite) ?? 0
    // row[r] − column[c]: queries minus keys, or in a transposed tile, negated keys minus negated queries.
    let sign: Double = isTransposed ? -1 : 1
    let (down, across) = isTransposed ? (columns, rows) : (rows, columns)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: rows.count + columns.count) { memory in
      for (place, i) in down.enumerated() {
        memory[place] = Float(sign * (sums[base + i] - origin))
      }
      for (place, i) in across.enumerated() {
        memory[down.count + place] = Float(sign * (sums[base + i] - origin))
      }
      let row = memory.baseAddress!
      kernels.add_difference(down.count, across.count, s, stride, row, row + down.count)
    }
    guard let cuts = inputs.decayCuts else { return }
    for (r, i) in down.enumerated() {
      for (c, j) in across.enumerated() where cuts[base + i] != cuts[base + j] {
        s[r * stride + c] = -.infinity
      }
    }
  }
}

extension DType {
  /// The element type in C of a bias of this dtype, which is never an integer.
  fileprivate var biasType: cpu_bias_type {
    switch self {
    case .bfloat16: CPU_BIAS_BF16
    case .float16: CPU_BIAS_F16
    case .float64: CPU_BIAS_F64
    case .bool: CPU_BIAS_BOOL
    case .float32, .int32, .int64: CPU_BIAS_F32
    }
  }
}
