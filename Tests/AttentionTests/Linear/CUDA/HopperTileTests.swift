import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// The choice of tiles and pieces, without a GPU.
@Suite struct HopperTileTests {
  private static let multiprocessors = 132
  /// Shared memory per block of an H100.
  private static let room = 227 << 10

  private static func problem(
    _ update: LinearProblem.Update = .delta, batch: Int = 1, length: Int = 4096, heads: Int = 16,
    keyDimension: Int = 128, valueDimension: Int = 128, dtype: DType = .bfloat16,
    decay: LinearProblem.Decay = .perToken
  ) -> LinearProblem {
    LinearProblem(
      tokens: RecurrenceTokens(
        batch: batch, length: length, sequences: batch, isPacked: false, dtype: dtype,
        hasInitialState: false, needsGradient: false),
      heads: heads, valueHeads: heads, keyDimension: keyDimension, valueDimension: valueDimension,
      decay: decay, update: update, normalizesQueriesAndKeys: true)
  }

  private static func shape(
    _ update: LinearProblem.Update = .delta, keyDimension: Int = 128, valueDimension: Int = 128
  ) -> HopperTile.Shape {
    HopperTile.Shape(
      keyDimension: keyDimension, valueDimension: valueDimension, update: update, decays: true,
      normalizes: true)
  }

  @Test func everyTileFits() {
    for update in [LinearProblem.Update.additive, .delta] {
      for (k, v) in [(64, 64), (64, 128), (128, 64), (128, 128), (128, 192), (64, 512)] {
        for (recurrences, hasOutputs) in [(1, true), (1, false), (500, true), (500, false)] {
          let tile = HopperTile(
            Self.shape(update, keyDimension: k, valueDimension: v), recurrences: recurrences,
            multiprocessors: Self.multiprocessors, hasOutputs: hasOutputs)
          let words = "\(update) \(k) \(v) \(recurrences) \(hasOutputs)"
          #expect(tile.sharedBytes <= Self.room, "\(words)")
          let maps = update == .delta && !hasOutputs ? k : 0
          #expect(tile.columns * tile.slices == v + maps, "\(words)")
          var shape = Self.shape(update, keyDimension: k, valueDimension: v)
          shape.channels = .keys
          let ofChannels = HopperTile(
            shape, recurrences: recurrences, multiprocessors: Self.multiprocessors,
            hasOutputs: hasOutputs)
          #expect(ofChannels.sharedBytes <= Self.room, "\(words), channels")
        }
      }
    }
  }

  /// The passes of the backward pass, and the kernel of inverses.
  @Test func everyTileOfTheBackwardPassFits() {
    for k in [64, 128] {
      for v in [64, 128] {
        for update in [LinearProblem.Update.additive, .delta, .lowRank] {
          for shape in HopperBackward.shapes(
            Self.problem(update, keyDimension: k, valueDimension: v))
          {
            for (isReversed, recurrences) in [(false, 1), (true, 500)] {
              var shape = shape
              shape.isReversed = isReversed
              shape.hasFlows = !shape.update.isErasing
              let tile = HopperTile(
                shape, recurrences: recurrences, multiprocessors: Self.multiprocessors)
              #expect(tile.sharedBytes <= Self.room, "\(shape) \(recurrences)")
            }
          }
        }
      }
      // Eight blocks share a multiprocessor.
      let inverse = HopperTile(
        Self.shape(keyDimension: k), recurrences: 1, multiprocessors: Self.multiprocessors)
      #expect(inverse.inverseBytes * 8 <= Self.room)
    }
  }

  @Test func piecesBackwardsAreTheSamePieces() throws {
    let queries = try Tensor.zeros([1, 3000, 1, 64], dtype: .bfloat16)
    let call = try OperatorCall<LinearAttention>(
      queries: queries, keys: queries, values: queries,
      cumulativeLengths: Tensor([0, 1200, 1200, 3000] as [Int32])
    ).arguments()
    let pieces = HopperPieces(call, Self.multiprocessors)
    let reversed = pieces.reversed
    #expect(pieces.first == [0, 3, 3, 7])
    #expect(reversed.first == pieces.first)
    #expect(reversed.segments == pieces.segments)
    for (start, end) in [(0, 3), (3, 7)] {
      #expect(Array(reversed.pieces[start..<end].reversed()) == Array(pieces.pieces[start..<end]))
      #expect(
        Array(reversed.firstChunks[start..<end].reversed())
          == Array(pieces.firstChunks[start..<end]))
      #expect(
        Array(reversed.firstSegments[start..<end].reversed())
          == Array(pieces.firstSegments[start..<end]))
    }
  }

  @Test func blocksAreWideWhereTheyFillTheDevice() {
    func columns(_ recurrences: Int) -> Int {
      HopperTile(
        Self.shape(), recurrences: recurrences, multiprocessors: Self.multiprocessors
      ).columns
    }
    #expect(columns(128) == 128)
    var shape = Self.shape(.additive)
    shape.hasFlows = true
    #expect(
      HopperTile(shape, recurrences: 1, multiprocessors: Self.multiprocessors).columns == 128)
    #expect(columns(67) == 128)
    #expect(columns(66) == 64)
  }

  @Test func piecesFillTheDeviceWithTheHeadsOfOneSequence() {
    func count(_ length: Int, heads: Int, batch: Int = 1) -> Int {
      HopperPieces.count(
        Self.problem(batch: batch, length: length, heads: heads), Self.multiprocessors)
    }
    #expect(count(16384, heads: 16) == 8)
    #expect(count(65536, heads: 4) == 32)
    // A piece has at least eight chunks, and many heads need none.
    #expect(count(1024, heads: 1) == 2)
    #expect(count(512, heads: 1) == 1)
    #expect(count(16384, heads: 132) == 1)
    // The rest of the batch has no influence.
    #expect(count(16384, heads: 16, batch: 64) == 8)
    #expect(count(0, heads: 1) == 1)
  }

  @Test func objectionsNameWhatIsMissing() {
    let kernel = HopperKernel(splits: false)
    func words(_ problem: LinearProblem) -> String? { kernel.objection(to: problem)?.reason }
    #expect(words(Self.problem()) == nil)
    #expect(words(Self.problem(dtype: .float32)) == "needs bfloat16 inputs, was float32")
    #expect(
      words(Self.problem(.generalizedDelta))
        == "the update is generalised delta; needs additive, delta or low rank")
    #expect(
      words(Self.problem(.lowRank))
        == "decay per token; needs per channel with a low-rank update")
    #expect(words(Self.problem(.lowRank, decay: .perChannel)) == nil)
    #expect(words(Self.problem(decay: .perChannel)) == nil)
    #expect(words(Self.problem(keyDimension: 96)) == "key dimension 96; needs 64 or 128")
    #expect(
      words(Self.problem(valueDimension: 80)) == "value dimension 80; needs a multiple of 64")
    #expect(
      HopperKernel(splits: true).objection(to: Self.problem(length: 512))?.reason
        == "512 tokens and 16 recurrences leave nothing to split")
  }
}

@Suite(.onGPU, .serialized) struct HopperDeviceTests {
  private static func arguments(_ update: LinearProblem.Update, length: Int, packed: [Int]? = nil)
    throws -> LinearCase.Arguments
  {
    try LinearCase(
      batch: 1, length: length, heads: 1, valueHeads: 2, keyDimension: 64, valueDimension: 64,
      dtype: .bfloat16, decay: .perToken, update: update, packed: packed, normalizes: true
    ).arguments()
  }

  /// A sequence split anywhere, with its state carried over, gives the same result with kernels of any kind.
  @Test(arguments: [LinearProblem.Update.additive, .delta])
  func continuesWhereItWasCut(_ update: LinearProblem.Update) throws {
    let length = 150
    let arguments = try Self.arguments(update, length: length)
    let expected = try arguments.wide()("cpu.reference")
    let onDevice = try arguments.moved(to: GPU.device)
    let portable = update.isErasing ? "cuda.erasing" : "cuda.chunked"
    for (place, kernels) in [
      (64, ["cuda.hopper", "cuda.hopper"]), (37, [portable, "cuda.hopper"]),
      (149, ["cuda.hopper", "cuda.step"]),
    ] {
      let first = try onDevice.sliced(0..<place, from: onDevice.initialState)(kernels[0])
      let second = try onDevice.sliced(place..<length, from: first.finalState)(kernels[1])
      let output = try Tensor.concatenated([first.output, second.output], 1)
      #expect(try relativeError(output, expected.output) <= 1e-2, "\(kernels) at \(place)")
      #expect(try relativeError(second.finalState, expected.finalState) <= 1e-2)
    }
  }

  /// The same holds for gradients.
  @Test(arguments: ["cuda.hopper", "cuda.hopper.split"])
  func gradientsOfRowsDoNotKnowOtherRows(_ kernel: String) throws {
    var generator = SystemRandomNumberGenerator()
    func draw(_ shape: Shape) throws -> Tensor {
      try Tensor(
        (0..<shape.elementCount).map { _ in Float.random(in: -1...1, using: &generator) / 8 }, shape
      )
    }
    let (rows, length) = (3, 1100)
    let inputs =
      try (0..<4).map { _ in try draw([rows, length, 1, 64]).cast(to: .bfloat16) }
      + [draw([rows, length, 1]).absolute(), draw([rows, length, 1]).absolute() * -1]
    func gradients(_ row: Range<Int>) throws -> [Tensor] {
      let own = try inputs.map { try $0.sliced(0, row).contiguous().moved(to: GPU.device) }
      let tracked = own.map { $0.tracked() }
      let output = try linearAttention(
        queries: tracked[0], keys: tracked[1], values: tracked[2], decay: tracked[5],
        update: .delta(beta: tracked[4]), kernel: kernel
      ).output
      let loss = try (output.cast(to: .float32) * own[3].cast(to: .float32)).sum()
      return try loss.gradients(of: [tracked[0], tracked[1], tracked[2], tracked[4], tracked[5]])
    }
    let all = try gradients(0..<rows)
    for row in 0..<rows {
      for (index, pair) in zip(try gradients(row..<row + 1), all).enumerated() {
        let alone = try pair.0.cast(to: .float32).elements(as: Float.self)
        let whole = try pair.1.sliced(0, row..<row + 1).cast(to: .float32).elements(as: Float.self)
        #expect(alone == whole, "\(kernel), gradient \(index), row \(row)")
      }
    }
  }

  /// Tokens with a β of zero write nothing, but have a gradient of β; so do those with a tiny β.
  @Test func tokensThatWriteNothingHaveAGradientOfBeta() throws {
    let shape: Shape = [1, 200, 2, 64]
    var generator = SystemRandomNumberGenerator()
    func draw(_ shape: Shape) throws -> Tensor {
      try Tensor(
        (0..<shape.elementCount).map { _ in Float.random(in: -1...1, using: &generator) / 8 }, shape
      )
    }
    let betas = try Tensor(
      (0..<400).map { Float([0, 1e-30, -0.5, 1, 0][$0 % 5]) }, [1, 200, 2])
    let tensors = [try draw(shape), try draw(shape), try draw(shape), betas]
    let decay = try draw([1, 200, 2]).absolute() * -1
    let slope = try draw(shape).cast(to: .bfloat16)
    func gradients(_ tensors: [Tensor], _ decay: Tensor, _ kernel: String) throws -> [Tensor] {
      let inputs = tensors.map { $0.tracked() }
      let output = try linearAttention(
        queries: inputs[0], keys: inputs[1], values: inputs[2], decay: decay,
        update: .delta(beta: inputs[3]), kernel: kernel
      ).output
      let slope = try slope.cast(to: output.dtype).moved(to: output.device)
      return try (output * slope).sum().gradients(of: inputs)
    }
    let rounded = try tensors[..<3].map { try $0.cast(to: .bfloat16) }
    let expected = try gradients(
      rounded.map { try $0.cast(to: .float64) } + [betas.cast(to: .float64)], decay, "cpu.reference"
    )
    let found = try gradients(
      (rounded + [betas]).map { try $0.moved(to: GPU.device) }, decay.moved(to: GPU.device),
      "cuda.hopper")
    for (index, pair) in zip(found, expected).enumerated() {
      let error = try relativeError(pair.0, pair.1)
      #expect(error <= 1e-2, "gradient \(index)")
    }
  }

  /// Bitwise the same whatever else is in the batch.
  @Test(arguments: ["cuda.hopper", "cuda.hopper.split"])
  func packedSequencesDoNotKnowEachOther(_ kernel: String) throws {
    let ends = [0, 1100, 1103, 2253]
    var arguments = try Self.arguments(.delta, length: 2253, packed: ends).moved(to: GPU.device)
    let packed = try arguments(kernel)
    let initial = try #require(arguments.initialState)
    arguments.cumulativeLengths = nil
    for number in [0, 2] {
      let tokens = ends[number]..<ends[number + 1]
      let state = try initial.sliced(0, number..<number + 1)
      let alone = try arguments.sliced(tokens, from: state)(kernel).output.cast(to: .float32)
      let whole = try packed.output.sliced(1, tokens).cast(to: .float32)
      #expect(
        try alone.elements(as: Float.self) == whole.elements(as: Float.self),
        "\(kernel), sequence \(number)")
    }
  }
}
