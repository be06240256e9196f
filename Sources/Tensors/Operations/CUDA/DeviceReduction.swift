extension Tensor {
  /// The sum times `factor` over `axes`, which keep extent one, on this tensor's GPU. Half precision is
  /// summed in float32 and rounded once.
  func summedOnDevice(_ axes: Set<Int>, factor: Double = 1) throws -> Tensor {
    guard dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "operand of sum", was: dtype.rawValue, mustBe: "a floating-point tensor")
    }
    let keptAxes = shape.indices.filter { !axes.contains($0) }
    let reducedAxes = shape.indices.filter(axes.contains)
    let result = try Tensor.onDevice(
      Shape(shape.indices.map { axes.contains($0) ? 1 : shape[$0] }), dtype: dtype, device: device)
    let kept = try DeviceAxes(keptAxes.map { shape[$0] }, keptAxes.map { strides[$0] })
    let reduced = try DeviceAxes(reducedAxes.map { shape[$0] }, reducedAxes.map { strides[$0] })
    let (results, count) = (result.elementCount, reducedAxes.reduce(1) { $0 * shape[$1] })
    let plan = ReductionPlan(
      results: results, count: count, isAcross: kept.nearest < reduced.nearest)
    var parameters = Parameters(
      x: try deviceAddress(), y: try result.deviceAddress(), kept: kept, reduced: reduced,
      results: Int64(results), count: Int64(count), piece: Int64(plan.piece), factor: factor,
      xType: dtype.kernelType, yType: dtype.kernelType, lanes: Int32(plan.lanes),
      blockResults: Int32(plan.blockResults), isAcross: plan.isAcross ? 1 : 0)
    guard plan.pieces > 1, results > 0 else {
      try withExtendedLifetime(self) { try launch(parameters, plan) }
      return result
    }
    let partial = try Tensor.onDevice(
      [plan.pieces, results], dtype: dtype == .float64 ? .float64 : .float32, device: device)
    parameters.y = try partial.deviceAddress()
    parameters.yType = partial.dtype.kernelType
    parameters.factor = 1
    try withExtendedLifetime(self) { try launch(parameters, plan) }
    // The pieces' sums are few.
    let last = ReductionPlan(results: results, count: plan.pieces, isAcross: true).inOnePiece
    let sums = Parameters(
      x: try partial.deviceAddress(), y: try result.deviceAddress(),
      kept: try DeviceAxes([results], [1]), reduced: try DeviceAxes([plan.pieces], [results]),
      results: Int64(results), count: Int64(plan.pieces), piece: Int64(plan.pieces),
      factor: factor, xType: partial.dtype.kernelType, yType: dtype.kernelType,
      lanes: Int32(last.lanes), blockResults: Int32(last.blockResults), isAcross: 1)
    try withExtendedLifetime(partial) { try launch(sums, last) }
    return result
  }

  private func launch(_ parameters: Parameters, _ plan: ReductionPlan) throws {
    let size = dtype == .float64 ? DType.float64.size : DType.float32.size
    try DeviceQueue.shared(for: device).launch(
      "tensors/reduce", definitions: [dtype.kernelNumber], grid: (plan.blocks, plan.pieces, 1),
      threads: ReductionPlan.threads, sharedBytes: ReductionPlan.threads * size, parameters)
  }

  /// As in `tensors/reduce.cu`.
  private struct Parameters: BitwiseCopyable {
    var x: UInt64
    var y: UInt64
    var kept: DeviceAxes
    var reduced: DeviceAxes
    var results: Int64
    var count: Int64
    var piece: Int64
    var factor: Double
    var xType: Int32
    var yType: Int32
    var lanes: Int32
    var blockResults: Int32
    var isAcross: Int32
    var unused: Int32 = 0
  }
}

extension ReductionPlan {
  /// The same without cutting what each result adds up.
  fileprivate var inOnePiece: ReductionPlan {
    var plan = self
    (plan.pieces, plan.piece) = (1, Int.max)
    return plan
  }
}

/// Axes whose places a kernel goes through by one index, as `Axes` in `tensors/reduce.cu`.
private struct DeviceAxes: BitwiseCopyable {
  private static let limit = 8

  var extents = InlineArray<8, Int64>(repeating: 1)
  var strides = InlineArray<8, Int64>(repeating: 0)
  var rank: Int32
  var unused: Int32 = 0

  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if more than eight axes are left when
  ///   those that are walked evenly are merged.
  init(_ extents: [Int], _ strides: [Int]) throws {
    let axes = MergedAxes(shape: Shape(extents), strides: [strides])
    guard axes.extents.count <= Self.limit else {
      throw TensorError.invalidArgument(
        "axes of sum", was: "\(extents)",
        mustBe: "at most \(Self.limit) on a GPU, those walked evenly counted once")
    }
    rank = Int32(axes.extents.count)
    for axis in axes.extents.indices {
      self.extents[axis] = Int64(axes.extents[axis])
      self.strides[axis] = Int64(axes.strides[0][axis])
    }
    if axes.extents.isEmpty { self.strides[0] = 1 }
  }

  /// The distance of neighbours along the last axis; broadcast axes and none are the farthest.
  var nearest: Int64 {
    let last = rank == 0 ? 0 : strides[Int(rank) - 1]
    return last == 0 ? .max : last
  }
}
