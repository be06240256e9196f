import AttentionTensors

/// The measured ceilings of a device, each measured on first use.
final class BenchCeilings {
  private let device: Device
  private let timer: TurnTimer
  /// Whether speed matters more than accuracy.
  private let isQuick: Bool
  private var rates: [Key: Double] = [:]

  private struct Key: Hashable {
    let unit: RaceTask.RateUnit
    let dtype: DType
  }

  init(_ scale: BenchScale, timer: TurnTimer) {
    device = scale.device
    isQuick = scale.isQuick
    self.timer = timer
  }

  /// The ceiling for rates in `unit`.
  func rate(_ unit: RaceTask.RateUnit, _ dtype: DType) throws -> Double {
    switch (unit, device) {
    case (.operations, .cpu): return try operations(.float32)
    case (.operations, _): return try operations(dtype)
    case (.bytes, .cpu): return try once(unit) { try PeakRate.measureCopy() }
    case (.bytes, _): return try once(unit) { try measureCopy() }
    case (.exponentials, .cpu): return try once(unit) { try PeakRate.measureExponentials() }
    case (.exponentials, _): return try once(unit) { try measureExponentials() }
    }
  }

  /// Operations per second: on the CPU multiply-adds in registers, the best measured so far; on a GPU a large
  /// matrix product.
  func operations(_ dtype: DType) throws -> Double {
    guard device == .cpu else {
      return try once(.operations, dtype) { try measureProduct(dtype) }
    }
    let key = Key(unit: .operations, dtype: .float32)
    let best = max(rates[key] ?? 0, PeakRate.measure())
    rates[key] = best
    return best
  }

  private func once(
    _ unit: RaceTask.RateUnit, _ dtype: DType = .float32, _ measure: () throws -> Double
  ) rethrows -> Double {
    let key = Key(unit: unit, dtype: dtype)
    if let rate = rates[key] { return rate }
    let rate = try measure()
    rates[key] = rate
    return rate
  }

  private static let turns = 5
  /// Rows and columns of the matrices.
  private static let matrix = 8192
  /// Elements of the copied tensors.
  private static let numbers = 1 << 28

  private func best(_ operations: Double, _ body: () throws -> Void) throws -> Double {
    try body()
    let seconds = try (0..<Self.turns).map { _ in try timer.coldSeconds(body) }
    return operations / (seconds.min() ?? .infinity)
  }

  private func measureProduct(_ dtype: DType) throws -> Double {
    let n = isQuick ? Self.matrix / 64 : Self.matrix
    var generator = Philox(seed: 0, label: "matrix")
    let matrix = try Tensor.normal([n, n], using: &generator, dtype: dtype).moved(to: device)
    let products = 2 * Double(n) * Double(n) * Double(n)
    return try best(products) { _ = try matrix.matmul(matrix) }
  }

  private func measureCopy() throws -> Double {
    let vector = try numbers()
    return try best(2 * Double(vector.byteCount)) { _ = try -vector }
  }

  private func measureExponentials() throws -> Double {
    let vector = try numbers()
    return try best(Double(vector.elementCount)) { _ = try vector.exponential() }
  }

  private func numbers() throws -> Tensor {
    let count = isQuick ? Self.numbers >> 12 : Self.numbers
    return try Tensor.zeros([count]).moved(to: device).contiguous()
  }
}
