import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLayers

@Suite struct LayerTests {
  /// Compares the gradients of a float64 layer, with respect to its input and every parameter, with central
  /// differences.
  private func expectLayerGradients(
    _ label: String, _ x: Tensor, sourceLocation: SourceLocation = #_sourceLocation,
    _ layer: (ParameterScope, Tensor) throws -> Tensor
  ) throws {
    let scope = ParameterScope(seed: 4, dtype: .float64)
    _ = try layer(scope, x)
    let parameters = scope.parameters
    try expectGradients(
      of: [x] + parameters.tensors, label, sourceLocation: sourceLocation
    ) { inputs in
      let given = try parameters.replacing(Array(inputs.dropFirst()))
      return try layer(ParameterScope(given, dtype: .float64), inputs[0])
    }
  }

  @Test func gradientsAreTheDerivatives() throws {
    let x = try normal([2, 3, 4], 1)
    try expectLayerGradients("linear", x) {
      try Linear(inputs: 4, outputs: 5, hasBias: true, scope: $0)($1)
    }
    try expectLayerGradients("norm", x) {
      try RMSNorm(width: 4, epsilon: 1e-3, scope: $0)($1)
    }
    try expectLayerGradients("feed-forward", x) {
      try FeedForward(width: 4, inner: 6, scope: $0)($1)
    }
    try expectLayerGradients("l2 norm", x) { try $1.l2Normalized(epsilon: 1e-3) }
    try expectLayerGradients("log-sigmoid", x) { try $1.logSigmoid(dividedBy: 16) }
    let context = try TokenContext(batch: 2, length: 3, offset: 5)
    try expectLayerGradients("rotary", normal([2, 3, 2, 4], 1)) {
      try RotaryEmbedding(dimension: 4)($1, context: context)
    }
    let tokens = try Tensor([0, 3, 3, 1] as [Int32], [2, 2])
    try expectLayerGradients("embedding", .zeros([1], dtype: .float64)) { scope, _ in
      let embedding = try Embedding(count: 5, width: 3, scope: scope)
      return try embedding.logits(embedding(tokens))
    }
  }

  /// The float32 loops compared with the definition in float64: value and gradients, on every instruction set,
  /// for widths of whole vectors and with a remainder.
  @Test(arguments: [DType.float32, .bfloat16, .float16], [8, 46])
  func fusedLoopsComputeTheDefinition(_ dtype: DType, _ width: Int) throws {
    let context = try TokenContext(batch: 2, length: 5, offset: 300)
    let functions: [(String, (Tensor) throws -> Tensor)] = [
      ("rotary", { try RotaryEmbedding(dimension: width)($0, context: context) }),
      ("log-sigmoid", { try $0.logSigmoid(dividedBy: 16) }),
      ("l2 norm", { try $0.l2Normalized(epsilon: 1e-6) }),
    ]
    // Half precision rounds input, output and gradient once each.
    let tolerance = dtype == .float32 ? 2e-6 : dtype == .bfloat16 ? 6e-3 : 8e-4
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) {
        for (name, function) in functions {
          let label = "\(name) \(dtype.rawValue) \(width) \(set.rawValue)"
          let exact = try normal([2, 5, 3, width], 5, deviation: 3).cast(to: dtype)
            .cast(to: .float64).tracked()
          let x = try exact.detached().cast(to: dtype).tracked()
          let (expected, actual) = (try function(exact), try function(x))
          let seed = try normal(expected.shape, 6).cast(to: actual.dtype)
          #expect(actual.dtype == (name == "log-sigmoid" ? .float32 : dtype), "\(label)")
          try expectClose(actual, expected, within: tolerance, label)
          try expectClose(
            actual.gradients(of: [x], seed: seed)[0],
            expected.gradients(of: [exact], seed: seed.cast(to: .float64))[0],
            within: tolerance, "\(label), gradient")
        }
      }
    }
  }

  @Test func rotaryReadsViewsAndKeepsProductsOfEqualDistances() throws {
    let rotary = try RotaryEmbedding(dimension: 8)
    let x = try normal([2, 4, 3, 8], 7, dtype: .float32)
    let context = try TokenContext(batch: 2, length: 4, offset: 11)
    let turned = try rotary(x, context: context)
    let view = try x.permuted([0, 2, 1, 3]).contiguous().permuted([0, 2, 1, 3])
    try expectClose(rotary(view, context: context), turned, within: 0)
    // q at position 11 + i, k at 11 + j: the product is that of positions i and j.
    let near = try rotary(x, context: TokenContext(batch: 2, length: 4))
    func products(_ x: Tensor) throws -> Tensor {
      let heads = try x.permuted([0, 2, 1, 3])
      return try heads.matmul(heads.transposed())
    }
    try expectClose(products(turned), products(near), within: 2e-6)
  }

  @Test func packedPositionsBeginAtZero() throws {
    let context = try TokenContext(
      batch: 1, length: 6, cumulativeLengths: Tensor([0, 2, 2, 6] as [Int32]))
    #expect(try context.positions.elements(as: Int32.self) == [0, 1, 0, 1, 2, 3])
    #expect(context.positionLimit == 4)
  }

  @Test func contextsThatMakeNoSenseAreRefused() throws {
    let ends = [[0, 3, 2, 6], [0, 5], [1, 6], []] as [[Int32]]
    for wrong in ends {
      #expect(throws: LayerError.self, "\(wrong)") {
        try TokenContext(batch: 1, length: 6, cumulativeLengths: Tensor(wrong))
      }
    }
    let lengths = try Tensor([0, 6] as [Int32])
    #expect(throws: LayerError.self) {
      try TokenContext(batch: 2, length: 6, cumulativeLengths: lengths)
    }
    #expect(throws: LayerError.self) {
      try TokenContext(batch: 1, length: 6, offset: 1, cumulativeLengths: lengths)
    }
    #expect(throws: LayerError.self) { try TokenContext(batch: 1, length: 6, offset: -1) }
    #expect(throws: LayerError.self) {
      try TokenContext(batch: 1, length: 6, paddingMask: .ones([1, 6]))
    }
  }

  @Test func wrongWidthsAreNamed() throws {
    let scope = ParameterScope(seed: 1)
    let linear = try Linear(inputs: 4, outputs: 2, scope: scope)
    #expect(
      throws: LayerError.invalidArgument("x", was: "[2, 3]", mustBe: "[..., 4]")
    ) { try linear(.zeros([2, 3])) }
    #expect(throws: LayerError.self) { try RotaryEmbedding(dimension: 5) }
    #expect(throws: LayerError.self) { try RotaryEmbedding(dimension: 4, theta: 0) }
    #expect(throws: LayerError.self) { try RMSNorm(width: 2, epsilon: 0, scope: scope) }
  }
}
