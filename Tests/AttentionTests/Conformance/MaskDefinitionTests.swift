import AttentionOperators
import AttentionTensors
import Testing

/// The masks compared with an independent definition: kernels and reference share the code that positions
/// them, so comparing those two would not reveal an error in it.
@Suite struct MaskDefinitionTests {
  struct Setting: CustomTestStringConvertible {
    var queries: Int
    var keys: Int
    var isCausal = false
    var alignment = Alignment.bottomRight
    var left: Int?
    var right: Int?

    var testDescription: String {
      "t=\(queries) s=\(keys) causal=\(isCausal) \(alignment.rawValue) "
        + "window=\(left.map(String.init) ?? "all"),\(right.map(String.init) ?? "all")"
    }

    /// The definition: query i is at key i, or at i + s − t.
    func sees(_ i: Int, _ j: Int) -> Bool {
      let place = alignment == .bottomRight ? i + keys - queries : i
      if isCausal, j > place { return false }
      if let left, j < place - left { return false }
      if let right, j > place + right { return false }
      return true
    }
  }

  static let settings: [Setting] = [
    (5, 5), (3, 7), (7, 3), (1, 4), (4, 1), (70, 66), (66, 130),
  ].flatMap { queries, keys in
    Alignment.allCases.flatMap { alignment in
      [
        (false, nil, nil), (true, nil, nil), (true, 2, nil), (false, 1, 2), (false, nil, 0),
        (false, 0, 0), (true, 3, 1),
      ].map { isCausal, left, right in
        Setting(
          queries: queries, keys: keys, isCausal: isCausal, alignment: alignment, left: left,
          right: right)
      }
    }
  }

  @Test(arguments: settings)
  func weightsAreEvenOverTheKeysThatAreSeen(setting: Setting) throws {
    // Equal scores, and unit vectors as values: the output is the matrix of weights.
    let (t, s) = (setting.queries, setting.keys)
    let hasWindow = setting.left != nil || setting.right != nil
    for kernel in ["cpu.reference", "cpu.tiled", "cpu.unfused"] {
      let identity = (0..<s * s).map { Float($0 / s == $0 % s ? 1 : 0) }
      let result = try attention(
        queries: .zeros([1, t, 1, 8]), keys: .zeros([1, s, 1, 8]),
        values: Tensor(identity, [1, s, 1, s]),
        mask: AttentionMask(
          isCausal: setting.isCausal, alignment: setting.alignment,
          window: hasWindow ? Window(left: setting.left, right: setting.right) : nil),
        kernel: kernel)
      let weights = try result.output.elements(as: Float.self)
      for i in 0..<t {
        let seen = (0..<s).filter { setting.sees(i, $0) }
        let even = 1 / Float(max(1, seen.count))
        let wrong = (0..<s).first {
          abs(weights[i * s + $0] - (seen.contains($0) ? even : 0)) > 1e-6
        }
        #expect(wrong == nil, "\(kernel), query \(i), key \(wrong ?? -1)")
      }
    }
  }
}
