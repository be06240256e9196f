import AttentionCLibrary
import AttentionCPUKernels
import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// Rotates pairs of a head's elements by angles that grow with the token's position, so that products
/// of queries and keys depend on the distance between their tokens.
///
/// The pairs are (x[i], x[i + d/2]), i < d/2, as in Llama; pair i of a token at position p is rotated
/// by p · theta^(−2i/d), or an angle that ``RotaryScaling`` makes of it.
///
/// Reference: Su et al., *RoFormer* (2021).
public struct RotaryEmbedding: Hashable, Sendable {
  public static let defaultTheta = 10_000.0

  /// How many elements of a head are rotated, even.
  public let dimension: Int
  public let theta: Double
  /// How the angles are changed for sequences longer than those of the first training.
  public let scaling: RotaryScaling?
  /// Whether the pairs are (x[2i], x[2i + 1]). They are rotated in place of (x[i], x[i + d/2]), which a
  /// product of a query and a key does not see.
  public let isInterleaved: Bool

  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)``.
  public init(
    dimension: Int, theta: Double = defaultTheta, scaling: RotaryScaling? = nil,
    isInterleaved: Bool = false
  ) throws {
    guard dimension > 0, dimension % 2 == 0 else {
      throw LayerError.invalidArgument(
        "headDimension", was: "\(dimension)",
        mustBe: "even and above 0 for rotary embeddings")
    }
    try LayerError.require("theta", isPositive: theta)
    try scaling?.validate()
    if case .yarn = scaling, theta <= 1 {
      throw LayerError.invalidArgument("theta", was: "\(theta)", mustBe: "above 1 for YaRN")
    }
    self.dimension = dimension
    self.theta = theta
    self.scaling = scaling
    self.isInterleaved = isInterleaved
  }

  /// Rotates the first `dimension` elements of each head of `x`, [batch, length, heads, head dimension], by
  /// the positions of `context`.
  ///
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` for any other shape or dtype.
  public func callAsFunction(_ x: Tensor, context: TokenContext) throws -> Tensor {
    guard x.rank == 4, x.shape[0] == context.batch, x.shape[1] == context.length,
      x.shape[3] >= dimension, x.dtype.isFloatingPoint
    else {
      throw LayerError.invalidArgument(
        "x", was: "\(x.summary)",
        mustBe: "floating-point [\(context.batch), \(context.length), heads, \(dimension)]")
    }
    guard x.shape[3] == dimension else {
      let parts = try x.split(-1, sizes: [dimension, x.shape[3] - dimension])
      return try .concatenated([self(parts[0], context: context), parts[1]], -1)
    }
    guard !isInterleaved else {
      let pairs = Shape(Array(x.shape.dropLast()) + [dimension / 2, 2])
      return try rotated(x.reshaped(pairs).transposed().reshaped(x.shape), context)
    }
    return try rotated(x, context)
  }

  private func rotated(_ x: Tensor, _ context: TokenContext) throws -> Tensor {
    if x.dtype == .float64 { return try turnedByDefinition(x, context) }
    let tables = try RotaryTables.shared(self, positions: context.positionLimit, on: x.device)
    let positions = try context.positions.moved(to: x.device)
    if x.device != .cpu {
      let rows = try DeviceRotary(positions, tables)
      return try Self.turned(x, direction: 1, rows.turn)
    }
    return try Self.turned(x.cast(to: .float32), direction: 1) {
      try Self.turn($0, positions, tables, direction: $1)
    }.cast(to: x.dtype)
  }

  /// `x` rotated by `turn`; its gradient is rotated back.
  private static func turned(
    _ x: Tensor, direction: Float,
    _ turn: @escaping @Sendable (_ x: Tensor, _ direction: Float) throws -> Tensor
  ) throws -> Tensor {
    try turn(x.detached(), direction).recorded(from: [x]) { gradient, _ in
      [try turned(gradient, direction: -direction, turn)]
    }
  }

  /// The definition, from elementary operations in float64.
  private func turnedByDefinition(_ x: Tensor, _ context: TokenContext) throws -> Tensor {
    let positions = try context.positions.elements(as: Double.self)
    let angles = positions.flatMap { position in frequencies.map { position * $0 } }
    let half = dimension / 2
    let shape: Shape = [context.batch, context.length, 1, half]
    let amplitude = self.amplitude
    let cosines = try Tensor(angles.map { amplitude * cos($0) }, shape).moved(to: x.device)
    let sines = try Tensor(angles.map { amplitude * sin($0) }, shape).moved(to: x.device)
    let pairs = try x.split(-1, sizes: [half, half])
    return try .concatenated(
      [pairs[0] * cosines - pairs[1] * sines, pairs[1] * cosines + pairs[0] * sines], -1)
  }

  /// The angle of each pair from one position to the next.
  var frequencies: [Double] {
    let plain = (0..<dimension / 2).map { pow(theta, -2 * Double($0) / Double(dimension)) }
    return scaling?.scaled(plain, theta: theta) ?? plain
  }

  /// The factor of rotated pairs.
  var amplitude: Double { scaling?.amplitude ?? 1 }

  /// - Parameter direction: 1, or −1 for the inverse rotation.
  private static func turn(
    _ x: Tensor, _ positions: Tensor, _ tables: RotaryTables, direction: Float
  ) throws -> Tensor {
    let (heads, dimension) = (x.shape[2], x.shape[3])
    // Tokens must be equally spaced over all batch entries, and the elements of a head adjacent.
    let isEven =
      x.strides[3] == 1 && (x.shape[0] == 1 || x.strides[0] == x.strides[1] * x.shape[1])
    let source = isEven ? x : try x.contiguous()
    let count = x.shape[0] * x.shape[1]
    let kernels = InstructionSet.current.kernels
    return try Tensor.filling(x.shape, as: Float.self) { y in
      try source.withUnsafePointer(to: Float.self) { x in
        try positions.withUnsafePointer(to: Int32.self) { positions in
          try tables.cosines.withUnsafePointer(to: Float.self) { cosines in
            try tables.sines.withUnsafePointer(to: Float.self) { sines in
              Threads.forEachRows(count, width: heads * dimension) { tokens in
                let first = tokens.lowerBound
                kernels.rotary(
                  tokens.count, heads, dimension / 2, x + first * source.strides[1],
                  source.strides[1], source.strides[2], positions + first, cosines, sines,
                  direction, y + first * heads * dimension)
              }
            }
          }
        }
      }
    }
  }
}

/// Rotary position embedding on a device.
struct DeviceRotary {
  /// Int32 [batch · length], on the device.
  private let positions: Tensor
  private let tables: RotaryTables

  private static let threads = 256

  init(_ positions: Tensor, _ tables: RotaryTables) throws {
    self.positions = try positions.contiguous()
    self.tables = tables
  }

  /// Rotates `x`, [batch, length, heads, dimension].
  ///
  /// - Parameter direction: 1, or −1 for the inverse rotation.
  func turn(_ x: Tensor, direction: Float) throws -> Tensor {
    // The elements of a head must be adjacent.
    let source = x.strides[3] == 1 ? x : try x.contiguous()
    let result = try Tensor.onDevice(x.shape, dtype: x.dtype, device: x.device)
    let half = x.shape[3] / 2
    let groups =
      x.shape[0] * x.shape[1] * x.shape[2] * half.pieces(of: group_size)
    try withExtendedLifetime([source, positions, tables.cosines, tables.sines, result]) {
      try DeviceQueue.shared(for: x.device).launch(
        "layers/rotary", element: x.dtype, blocks: groups.pieces(of: Self.threads),
        threads: Self.threads,
        LayersRotaryParameters(
          x: source.deviceAddress(), positions: positions.deviceAddress(),
          cosines: tables.cosines.deviceAddress(), sines: tables.sines.deviceAddress(),
          y: result.deviceAddress(), batch_stride: Int64(source.strides[0]),
          token_stride: Int64(source.strides[1]), head_stride: Int64(source.strides[2]),
          groups: Int64(groups), length: Int32(x.shape[1]), heads: Int32(x.shape[2]),
          half: Int32(half), direction: direction))
    }
    return result
  }
}
