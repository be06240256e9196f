import AttentionTensors

/// An elementary operation on tensors, with the shapes at which it is tested.
struct ElementaryOperation: Sendable {
  let name: String
  /// The operands' shapes, in several variants; the first is for quick checks.
  let shapes: [[Shape]]
  /// The range of the operands' random elements.
  let range: (low: Double, high: Double)
  let apply: @Sendable ([Tensor]) throws -> Tensor

  private init(
    _ name: String, _ shapes: [[Shape]], _ range: (Double, Double) = (-3, 3),
    _ apply: @escaping @Sendable ([Tensor]) throws -> Tensor
  ) {
    self.name = name
    self.shapes = shapes
    self.range = range
    self.apply = apply
  }

  static let all = pairs + functions + views + sums + rows + products

  private static let pairShapes: [[Shape]] = [
    [[5, 33], [33]], [[257, 1000], [257, 1000]], [[3, 1, 70], [65, 1]], [[2, 3, 4, 5], [4, 1]],
  ]

  private static let pairs: [ElementaryOperation] = [
    .init("+", pairShapes) { try $0[0] + $0[1] }, .init("-", pairShapes) { try $0[0] - $0[1] },
    .init("*", pairShapes) { try $0[0] * $0[1] },
    .init("/", pairShapes, (0.5, 4)) { try $0[0] / $0[1] },
    .init("maximum", pairShapes) { try $0[0].maximum($0[1]) },
    .init("minimum", pairShapes) { try $0[0].minimum($0[1]) },
    .init("select", pairShapes) { try .select($0[0].isGreater(than: $0[1]), $0[1], $0[0]) },
    .init("power", pairShapes, (0.5, 2)) { try $0[0].power($0[1]) },
    .init("numbers", singleShapes) { try (($0[0] + 0.3) * 1.7 - 0.1) / 3 },
  ]

  private static let singleShapes: [[Shape]] = [[[3, 17]], [[70_001]], [[2, 129, 5]]]

  private static func function(
    _ name: String, _ range: (Double, Double) = (-3, 3),
    _ apply: @escaping @Sendable (Tensor) throws -> Tensor
  ) -> ElementaryOperation {
    .init(name, singleShapes, range) { try apply($0[0]) }
  }

  private static let functions = [
    function("negate") { try -$0 }, function("absolute") { try $0.absolute() },
    function("squared") { try $0.squared() },
    function("squareRoot", (0.1, 9)) { try $0.squareRoot() },
    function("reciprocalSquareRoot", (0.1, 9)) { try $0.reciprocalSquareRoot() },
    function("reciprocal", (0.1, 9)) { try $0.reciprocal() },
    function("exponential") { try $0.exponential() },
    function("logarithm", (2, 9)) { try $0.logarithm() }, function("tanh") { try $0.tanh() },
    function("exponentialMinusOne", (0.1, 3)) { try $0.exponentialMinusOne() },
    function("logarithmOfOnePlus", (0.1, 9)) { try $0.logarithmOfOnePlus() },
    function("sigmoid") { try $0.sigmoid() }, function("relu") { try $0.relu() },
    function("silu") { try $0.silu() },
    function("complementaryErrorFunction", (-1, 1)) { try $0.complementaryErrorFunction() },
    function("gelu", (-0.5, 3)) { try $0.gelu() },
    function("gelu by tanh", (-0.5, 3)) { try $0.gelu(usesTanh: true) },
    function("power of a number", (0.5, 4)) { try $0.power(2.5) },
    function("clamped") { try $0.clamped(to: -1...2) },
    function("dropout") {
      var generator = Philox(seed: 7, position: 5)
      return try $0.dropout(0.3, using: &generator)
    },
  ]

  private static let views: [ElementaryOperation] = [
    .init("transposed", [[[7, 5, 33]], [[3, 129, 70]]]) { try $0[0].transposed().contiguous() },
    .init("slices", [[[7, 5, 33]], [[300, 6, 71]]]) {
      let last = $0[0].shape[2]
      let parts = try $0[0].split(2, sizes: [1, last - 3, 2])
      return try .concatenated([parts[1] * 2, parts[0]], 2).sliced(0, 1..<5)
    },
    .init("concatenated", [[[3, 4, 5], [3, 9, 5]], [[70, 1, 33], [70, 130, 33]]]) {
      try .concatenated($0, 1)
    },
    .init("subscripts", [[[7, 5, 33]], [[300, 6, 71]]]) {
      try $0[0][1...4, .newAxis, .ellipsis, 2...].contiguous()
    },
    .init("stacked", [[[3, 4], [3, 4]], [[70, 33], [70, 33]]]) { try .stacked($0, 1) },
    .init("expanded", [[[3, 1, 5]], [[33, 1, 129]]]) {
      try $0[0].expanded(to: [4, $0[0].shape[0], 7, $0[0].shape[2]]).contiguous()
    },
  ]

  private static let sums = [("all", nil), ("first", [0]), ("last", [-1]), ("outer", [0, 2])]
    .flatMap { (label: String, axes: [Int]?) -> [ElementaryOperation] in
      let many: [[Shape]] = [[[5, 3, 33]], [[3, 2, 70_001]], [[3000, 5, 2]], [[1025, 3, 129]]]
      // Few enough for a mean that an element's gradient is a normal float16 number.
      let few: [[Shape]] = [[[5, 3, 33]], [[3, 2, 1025]], [[1000, 5, 2]], [[33, 3, 67]]]
      // Of one sign, so that terms do not cancel.
      return [
        .init("sum of \(label) axes", many, (0.001, 0.01)) { try $0[0].sum(axes) },
        .init("mean of \(label) axes", few, (0.1, 1)) { try $0[0].mean(axes, keepsAxes: true) },
      ]
    }

  /// Indices one of which is by far the most frequent, and some of which never occur.
  private static func indices(_ count: Int, of rows: Int) throws -> Tensor {
    var generator = Philox(seed: UInt64(count))
    return try Tensor(
      (0..<count).map { _ in Int32(max(0, generator.next(below: 2 * rows - 1) - rows)) })
  }

  private static let rows: [ElementaryOperation] = [
    .init("rows by index", [[[30, 7]], [[3, 33]], [[1000, 129]]]) {
      try $0[0].gatheringRows(indices(700, of: $0[0].shape[0]))
    },
    .init("rows by indices of the device", [[[30, 7]], [[517, 70]]]) {
      try $0[0].gatheringRows(indices(3001, of: $0[0].shape[0]).moved(to: $0[0].device))
    },
  ]

  private static let products: [ElementaryOperation] = {
    let shapes: [[Shape]] = [
      [[5, 33], [33, 7]], [[128, 64], [64, 256]], [[129, 257], [257, 65]],
      [[1, 4096], [4096, 3]],
      [[513, 1], [1, 31]], [[33, 70], [70, 1]], [[2, 3, 17, 40], [40, 24]],
      [[2, 3, 17, 40], [2, 3, 40, 9]], [[2, 1, 16, 32], [5, 32, 8]], [[17, 40], [3, 40, 24]],
    ]
    return [
      .init("product", shapes) { try $0[0].matmul($0[1]) },
      .init("product of transposed", shapes) {
        try $0[0].transposed().contiguous().transposed().matmul(
          $0[1].transposed().contiguous().transposed())
      },
      // Neither contiguous nor aligned.
      .init("product of slices", shapes) {
        let sides = try $0.map { x in
          let end = x.shape[x.rank - 1]
          return try Tensor.concatenated([x.sliced(-1, 0..<1), x, x], -1).sliced(-1, 1..<end + 1)
        }
        return try sides[0].matmul(sides[1])
      },
      .init("mean of a product", shapes, (-0.5, 0.5)) { try $0[0].matmul($0[1]).squared().mean() },
    ]
  }()
}
