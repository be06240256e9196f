import AttentionCUDAKernels

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
    let kept = try TensorsAxes(keptAxes.map { shape[$0] }, keptAxes.map { strides[$0] })
    let reduced = try TensorsAxes(reducedAxes.map { shape[$0] }, reducedAxes.map { strides[$0] })
    let (results, count) = (result.elementCount, reducedAxes.reduce(1) { $0 * shape[$1] })
    let plan = ReductionPlan(
      results: results, count: count, isAcross: kept.nearest < reduced.nearest)
    var parameters = TensorsReduceParameters(
      x: try deviceAddress(), y: try result.deviceAddress(), kept: kept, reduced: reduced,
      results: Int64(results), count: Int64(count), piece: Int64(plan.piece), factor: factor,
      x_type: dtype.kernelType, y_type: dtype.kernelType, lanes: Int32(plan.lanes),
      block_results: Int32(plan.blockResults), is_across: plan.isAcross ? 1 : 0)
    guard plan.pieces > 1, results > 0 else {
      try withExtendedLifetime(self) { try launch(parameters, plan) }
      return result
    }
    let partial = try Tensor.onDevice(
      [plan.pieces, results], dtype: dtype == .float64 ? .float64 : .float32, device: device)
    parameters.y = try partial.deviceAddress()
    parameters.y_type = partial.dtype.kernelType
    parameters.factor = 1
    try withExtendedLifetime(self) { try launch(parameters, plan) }
    // The pieces' sums are few.
    let last = ReductionPlan(results: results, count: plan.pieces, isAcross: true).inOnePiece
    let sums = TensorsReduceParameters(
      x: try partial.deviceAddress(), y: try result.deviceAddress(),
      kept: try TensorsAxes([results], [1]), reduced: try TensorsAxes([plan.pieces], [results]),
      results: Int64(results), count: Int64(plan.pieces), piece: Int64(plan.pieces),
      factor: factor, x_type: partial.dtype.kernelType, y_type: dtype.kernelType,
      lanes: Int32(last.lanes), block_results: Int32(last.blockResults), is_across: 1)
    try withExtendedLifetime(partial) { try launch(sums, last) }
    return result
  }

  private func launch(_ parameters: TensorsReduceParameters, _ plan: ReductionPlan) throws {
    let size = dtype == .float64 ? DType.float64.size : DType.float32.size
    try DeviceQueue.shared(for: device).launch(
      "tensors/reduce", definitions: [dtype.kernelNumber], grid: (plan.blocks, plan.pieces, 1),
      threads: ReductionPlan.threads, sharedBytes: ReductionPlan.threads * size, parameters)
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

/// Axes whose places a kernel goes through by one index.
extension TensorsAxes {
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if more than eight axes are left when
  ///   those that are walked evenly are merged.
  fileprivate init(_ extents: [Int], _ strides: [Int]) throws {
    let axes = MergedAxes(shape: Shape(extents), strides: [strides])
    guard axes.extents.count <= tensors_axis_limit else {
      throw TensorError.invalidArgument(
        "axes of sum", was: "\(extents)",
        mustBe: "at most \(tensors_axis_limit) on a GPU, those walked evenly counted once")
    }
    self.init()
    rank = Int32(axes.extents.count)
    withUnsafeMutableBytes(of: &self.extents) { extents in
      for (axis, extent) in axes.extents.enumerated() { extents.elements[axis] = Int64(extent) }
    }
    withUnsafeMutableBytes(of: &self.strides) { strides in
      for (axis, stride) in axes.strides[0].enumerated() { strides.elements[axis] = Int64(stride) }
      if axes.extents.isEmpty { strides.elements[0] = 1 }
    }
  }

  /// The distance of neighbours along the last axis; broadcast axes and none are the farthest.
  fileprivate var nearest: Int64 {
    var strides = strides
    let last =
      rank == 0 ? 0 : withUnsafeMutableBytes(of: &strides) { $0.elements[Int(rank) - 1] }
    return last == 0 ? .max : last
  }
}
