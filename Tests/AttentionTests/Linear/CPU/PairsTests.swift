import AttentionCPUKernels
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Chunks whose products take bfloat16 pairs, with those products emulated where the processor has none.
@Suite struct PairsTests {
  static let cases: [LinearCase] = {
    var random = SplitMix(state: 5)
    var cases: [LinearCase] = []
    for update in [LinearProblem.Update.additive, .additiveBefore] + ErasingTests.updates {
      for decay in [LinearProblem.Decay.none, .perToken, .perChannel] {
        for length in [1, 15, 64, 131] {
          cases.append(
            LinearCase(
              batch: 1, length: length, keyDimension: 7 + length % 12,
              valueDimension: 3 + length % 35, dtype: .bfloat16, decay: decay, update: update,
              normalizes: true, strongest: length == 64 ? -0.05 : -20, seed: random.next() % 1000))
        }
      }
    }
    return cases
  }()

  @Test(arguments: cases) func agreesWithReference(_ linearCase: LinearCase) throws {
    let arguments = try linearCase.arguments()
    let wide = try arguments.wide()
    let reference = try wide("cpu.reference")
    let expected = try wide.gradients("cpu.reference")
    let tracked = arguments.tracked()
    let call = try LinearArguments(
      OperatorCall<LinearAttention>(
        queries: tracked.queries, keys: tracked.keys, values: tracked.values,
        decay: tracked.decay, update: tracked.update,
        normalizesQueriesAndKeys: tracked.normalizes, initialState: tracked.initialState),
      destinations: OperatorDestinations())
    let kernel = ChunkedKernel(
      erases: linearCase.update.isErasing, kernels: InstructionSet.current.kernels.withPairs)
    let outputs = try kernel.forward(call)
    #expect(try relativeError(outputs.output, reference.output) <= 1e-2, "output, \(linearCase)")
    #expect(
      try relativeError(outputs.finalState, reference.finalState) <= 1e-2, "state, \(linearCase)")
    let gradients = try kernel.backward(
      call, outputs,
      [.output: arguments.outputGradient, .finalState: arguments.finalStateGradient])
    let inputs =
      [("queries", LinearInput.queries), ("keys", .keys), ("values", .values)]
      + [("decay", .decay), ("initialState", .initialState)]
      + call.update.inputs.enumerated().map { ("update \($0.offset)", $0.element) }
    for (name, input) in inputs {
      guard let gradient = gradients[input], let expected = expected[name] else { continue }
      // The gate of a single token has one sum over the state, whose terms cancel.
      if input == .decay, linearCase.length == 1 { continue }
      let error = try relativeError(gradient.reshaped(expected.shape), expected)
      #expect(error <= 1e-2, "gradient of \(name), \(linearCase)")
    }
  }
}

extension cpu_kernels {
  /// The same with products of bfloat16 pairs, as its definition has them where there are none.
  fileprivate var withPairs: cpu_kernels {
    guard has_bf16 == 0 else { return self }
    var copy = self
    copy.has_bf16 = 1
    copy.bf16.round_rows = { rows, columns, x, xStride, y, yStride in
      for r in 0..<rows {
        for j in 0..<columns + columns % 2 {
          y[r * yStride + j] = j < columns ? rounded(x[r * xStride + j]) : 0
        }
      }
    }
    copy.bf16.pair_rows = { rows, columns, x, xStride, y, yStride in
      for r in 0..<rows + rows % 2 {
        for j in 0..<columns {
          y[r / 2 * yStride + 2 * j + r % 2] = r < rows ? rounded(x[r * xStride + j]) : 0
        }
      }
    }
    copy.bf16.pack_rounded = { k, n, b, kStride, nStride, panels, panelStride in
      let tile = InstructionSet.current.kernels.tile_columns
      for p in 0..<k + k % 2 {
        for j in 0..<(n + tile - 1) / tile * tile {
          panels[j / tile * panelStride + p / 2 * 2 * tile + 2 * (j % tile) + p % 2] =
            p < k && j < n ? rounded(b[p * kStride + j * nStride]) : 0
        }
      }
    }
    copy.bf16.product_pairs = {
      m, n, k, a, aRow, aPair, panels, panelStride, c, cRow, cPanel, accumulate in
      let tile = InstructionSet.current.kernels.tile_columns
      for i in 0..<m {
        for j in 0..<n {
          var sum: Float = 0
          for p in 0..<(k + 1) / 2 {
            let left = a + i * aRow + p * aPair
            let right = panels + j / tile * panelStride + p * 2 * tile + 2 * (j % tile)
            sum += widened(left[0]) * widened(right[0]) + widened(left[1]) * widened(right[1])
          }
          let place = j / tile * cPanel + i * cRow + j % tile
          c[place] = accumulate != 0 ? c[place] + sum : sum
        }
      }
    }
    return copy
  }
}

private func rounded(_ x: Float) -> UInt16 {
  let bits = x.bitPattern
  return x.isNaN ? 0x7FC0 : UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
}

private func widened(_ x: UInt16) -> Float { Float(bitPattern: UInt32(x) << 16) }
