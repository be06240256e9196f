import AttentionOperators
import AttentionTensors

extension ConformanceCase {
  /// Compares every kernel without an objection, with every instruction set of this processor, with the
  /// reference.
  ///
  /// Failures are collected, not thrown, including the errors that kernels throw.
  public func check(seed: UInt64, sets: [InstructionSet] = InstructionSet.supported)
    -> ConformanceResult
  {
    var result = ConformanceResult()
    do {
      let problem = try makeProblem(seed: seed)
      let expected = try problem.results(kernel: problem.reference, isExact: true, gradients: true)
      let terms = try problem.termSizes(reference: expected)
      for set in sets {
        let (able, differentiating) = try InstructionSet.withCurrent(set) {
          (
            try problem.kernels(needsGradient: false).filter { $0 != problem.reference },
            Set(try problem.kernels(needsGradient: true))
          )
        }
        for kernel in able {
          let run = KernelRun(
            kernel: kernel, set: set, problem: problem, expected: expected, terms: terms,
            gradients: differentiating.contains(kernel))
          add(run, seed: seed, place: set.rawValue, to: &result)
        }
      }
    } catch {
      result.failures.append(
        ConformanceFailure(
          caseName: name, seed: seed, kernel: nil, reason: "the reference throws: \(error)"))
    }
    return result
  }
}

extension ConformanceCase {
  /// Compares every kernel without an objection on a GPU with the reference, which runs on the CPU. Objections
  /// are collected.
  public func check(seed: UInt64, on device: Device) -> ConformanceResult {
    var result = ConformanceResult()
    do {
      let problem = try makeProblem(seed: seed)
      // CPU kernels always object to a GPU, which says nothing.
      let verdicts = try [false, true].map { needsGradient in
        try problem.candidates(on: device, needsGradient: needsGradient).filter {
          !$0.kernel.hasPrefix("cpu.")
        }
      }
      let able = verdicts.map { $0.filter { $0.objection == nil }.map(\.kernel) }
      for (verdict, words) in zip(verdicts, ["", " with gradients"]) {
        for candidate in verdict where words.isEmpty || able[0].contains(candidate.kernel) {
          guard let objection = candidate.objection else { continue }
          result.objections.append("\(candidate.kernel)\(words): \(objection)")
        }
      }
      guard !able[0].isEmpty else { return result }
      let expected = try problem.results(kernel: problem.reference, isExact: true, gradients: true)
      let terms = try problem.termSizes(reference: expected)
      for kernel in able[0] {
        let run = KernelRun(
          kernel: kernel, set: .current, device: device, problem: problem, expected: expected,
          terms: terms, gradients: able[1].contains(kernel))
        add(run, seed: seed, place: device.description, to: &result)
      }
    } catch {
      result.failures.append(
        ConformanceFailure(
          caseName: name, seed: seed, kernel: nil, reason: "the reference throws: \(error)"))
    }
    return result
  }

  private func add(
    _ run: KernelRun, seed: UInt64, place: String, to result: inout ConformanceResult
  ) {
    let (reason, share) = run.judge()
    result.runs += 1
    result.worstShare = max(result.worstShare, share)
    guard let reason else { return }
    result.failures.append(
      ConformanceFailure(
        caseName: name, seed: seed, kernel: "\(run.kernel) (\(place))", reason: reason))
  }
}

/// One kernel on one problem with one instruction set, or on a GPU.
private struct KernelRun {
  let kernel: String
  let set: InstructionSet
  /// The device of the kernel; the unfused computation that it is compared with runs on the CPU.
  var device = Device.cpu
  let problem: any ConformanceProblem
  let expected: [String: Tensor]
  let terms: [String: Double]
  let gradients: Bool

  /// The failure, nil if there is none; and the largest error as a fraction of its bound.
  func judge() -> (reason: String?, share: Double) {
    do {
      let results = try compute(kernel)
      if let violation = try problem.exactViolation(results, reference: expected) {
        return (violation, 0)
      }
      var plain: [String: Tensor]?
      var worstShare = 0.0
      for name in expected.keys.sorted() where gradients || !Self.isGradient(name) {
        guard let tensor = results[name], let reference = expected[name] else {
          return ("\(name) is missing", worstShare)
        }
        let deviation = try Deviation(of: tensor, from: reference)
        var bound = bound(name, of: tensor)
        if !deviation.isWithin(bound), problem.dtype.isHalfPrecision, let unfused = problem.unfused,
          unfused != kernel
        {
          if plain == nil { plain = try compute(unfused) }
          if let tensor = plain?[name] {
            let other = try Deviation(of: tensor, from: reference)
            bound.remainder = max(bound.remainder, Tolerance.unfusedFactor * other.difference)
          }
        }
        if deviation.difference > 0 {
          worstShare = max(worstShare, deviation.difference / bound.limit(deviation.size))
        }
        guard deviation.isWithin(bound) else {
          return (Self.describe(name, deviation, bound), worstShare)
        }
      }
      return (nil, worstShare)
    } catch {
      return ("throws: \(error)", 0)
    }
  }

  private func compute(_ kernel: String) throws -> [String: Tensor] {
    try InstructionSet.withCurrent(set) {
      device != .cpu && kernel == self.kernel
        ? try problem.results(kernel: kernel, on: device, gradients: gradients)
        : try problem.results(kernel: kernel, isExact: false, gradients: gradients)
    }
  }

  private static func isGradient(_ name: String) -> Bool { name.hasSuffix("_gradient") }

  private func bound(_ name: String, of tensor: Tensor) -> Bound {
    let remainder = Tolerance.termRounding(problem.dtype) * (terms[name] ?? 0)
    if kernel == problem.unfused, problem.dtype.isHalfPrecision {
      return Bound(share: Tolerance.unfusedBound, remainder: remainder)
    }
    let isGradient = Self.isGradient(name)
    // A gradient is rounded to the dtype of its input.
    let dtypes = tensor.dtype.isHalfPrecision ? [problem.dtype, tensor.dtype] : [problem.dtype]
    return Bound(
      share: dtypes.map { Tolerance.bound($0, isGradient: isGradient) }.max()!,
      remainder: remainder)
  }

  private static func describe(_ name: String, _ deviation: Deviation, _ bound: Bound) -> String {
    let place = deviation.worst.map { "; worst at \($0)" } ?? ""
    return "\(name) of size \(deviation.size) is off by \(deviation.difference), at most "
      + "\(bound.limit(deviation.size)) allowed\(place)"
  }
}
