import AttentionTensors

/// The chunked erasing recurrence with the columns of the values in slices. The columns of a state
/// are independent of each other, so one long sequence of one head occupies several threads. Each
/// slice recomputes the scores of the chunk.
struct ColumnSlices: LinearKernel {
  /// The number of slices.
  let slices: Int

  var name: String { "cpu.erasing.columns\(slices)" }

  /// Fewer columns would not fill a tile of a product.
  private static let leastColumns = 32

  private let whole = ChunkedKernel(erases: true)

  init(slices: Int) { self.slices = slices }

  func objection(to problem: LinearProblem) -> Objection? {
    if let objection = whole.objection(to: problem) { return objection }
    guard problem.valueDimension % slices == 0,
      problem.valueDimension / slices >= Self.leastColumns
    else {
      return Objection(
        "values have \(problem.valueDimension) columns; this kernel cuts them into \(slices) slices "
          + "of equal width, at least \(Self.leastColumns)")
    }
    return nil
  }

  func cost(of problem: LinearProblem) -> Cost { whole.cost(of: problem.cut(into: slices)) }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let cut = try call.cut(into: slices)
    let outputs = try whole.forward(cut)
    return LinearOutputs(
      output: try outputs.output.reshaped(call.outputShape),
      finalState: try outputs.finalState.joiningSlices(call.stateShape))
  }

  func backward(
    _ call: LinearArguments, _ outputs: LinearOutputs, _ incoming: LinearOutputs
  ) throws -> LinearGradients {
    let cut = try call.cut(into: slices)
    let gradients = try whole.backward(
      cut, outputs,
      [
        .output: try incoming[.output]?.reshaped(cut.outputShape),
        .finalState: try incoming[.finalState]?.cuttingColumns(into: slices),
      ])
    // Gradients of tensors that slices share are summed in float32, before rounding; those of
    // queries and keys by the operator.
    func sum(_ gradient: Tensor) throws -> Tensor {
      let shape = gradient.shape
      return try gradient.reshaped([shape[0], shape[1], shape[2] / slices, slices, shape[3]])
        .sum([3])
    }
    return try gradients.mapTensors { input, gradient in
      switch input {
      case .queries, .keys: gradient
      case .values: try gradient.reshaped(call.values.shape)
      case .initialState: try gradient.joiningSlices(call.stateShape)
      default: try sum(gradient)
      }
    }
  }
}

extension LinearProblem {
  /// The same with each slice of the columns as a separate value head.
  fileprivate func cut(into slices: Int) -> LinearProblem {
    var cut = self
    cut.valueHeads *= slices
    cut.valueDimension /= slices
    return cut
  }
}

extension LinearArguments {
  /// The same with each slice of the columns as a separate value head.
  fileprivate func cut(into slices: Int) throws -> LinearArguments {
    let problem = problem.cut(into: slices)
    /// [b, t, hv, width] with each head repeated for every slice.
    func repeated(_ rows: Tensor) throws -> Tensor {
      try rows.repeatedHeads(to: problem.valueHeads)
    }
    return LinearArguments(
      problem: problem, queries: queries, keys: keys,
      values: try values.reshaped([
        problem.batch, problem.length, problem.valueHeads, problem.valueDimension,
      ]), decay: try decay.map(repeated), update: try update.mapTensors(repeated),
      initialState: try initialState?.cuttingColumns(into: slices), scale: scale,
      sequences: sequences, wantsDecayGradient: wantsDecayGradient)
  }
}

extension Tensor {
  /// A state [n, hv, k, v] as [n, hv·slices, k, v/slices].
  fileprivate func cuttingColumns(into slices: Int) throws -> Tensor {
    let (n, heads, k, v) = (shape[0], shape[1], shape[2], shape[3])
    return try reshaped([n, heads, k, slices, v / slices]).permuted([0, 1, 3, 2, 4])
      .reshaped([n, heads * slices, k, v / slices]).contiguous()
  }

  /// The inverse of ``cuttingColumns(into:)``.
  fileprivate func joiningSlices(_ whole: Shape) throws -> Tensor {
    let (n, heads, k, v) = (whole[0], whole[1], whole[2], whole[3])
    let slices = shape[1] / max(1, heads)
    return try reshaped([n, heads, slices, k, v / slices]).permuted([0, 1, 3, 2, 4])
      .reshaped(whole).contiguous()
  }
}
