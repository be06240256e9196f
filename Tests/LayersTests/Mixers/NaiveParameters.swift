import AttentionCLibrary
import AttentionTensors

@testable import AttentionLayers

/// A mixer's parameters as plain numbers, and what definitions of mixers do with them: one token at a time, in
/// float64, without tensors.
struct NaiveParameters {
  private let elements: [String: [Double]]
  private let shapes: [String: Shape]

  init(_ parameters: Parameters) throws {
    var (elements, shapes) = ([String: [Double]](), [String: Shape]())
    for (path, tensor) in zip(parameters.paths, parameters.tensors) {
      elements[path] = try tensor.elements(as: Double.self)
      shapes[path] = tensor.shape
    }
    (self.elements, self.shapes) = (elements, shapes)
  }

  func has(_ name: String) -> Bool { elements[name] != nil }

  subscript(name: String) -> [Double] {
    guard let found = elements[name] else { fatalError("no parameter \(name)") }
    return found
  }

  /// W x + b
  func linear(_ name: String, _ x: [Double]) -> [Double] {
    let weight = self[name + ".weight"]
    let bias = elements[name + ".bias"]
    return (0..<weight.count / x.count).map { row in
      (bias?[row] ?? 0) + dot(Array(weight[row * x.count..<(row + 1) * x.count]), x)
    }
  }

  func linear(_ name: String, _ xs: [[Double]]) -> [[Double]] { xs.map { linear(name, $0) } }

  /// The causal convolution of every channel; without such parameters only the activation.
  func convolved(_ name: String, _ xs: [[Double]], appliesSiLU: Bool = true) -> [[Double]] {
    let activation = appliesSiLU ? silu : { $0 }
    guard let weight = elements[name + ".weight"] else { return xs.map { $0.map(activation) } }
    let width = shapes[name + ".weight"]![2]
    return xs.indices.map { token in
      xs[token].indices.map { channel in
        var sum = elements[name + ".bias"]?[channel] ?? 0
        for place in 0..<width where token - (width - 1) + place >= 0 {
          sum += weight[channel * width + place] * xs[token - (width - 1) + place][channel]
        }
        return activation(sum)
      }
    }
  }

  /// x / √(mean x² + ε), times the weight if there is one.
  func rmsNorm(_ name: String, _ x: [Double], epsilon: Double) -> [Double] {
    let root = (dot(x, x) / Double(x.count) + epsilon).squareRoot()
    guard let weight = elements[name + ".weight"] else { return x.map { $0 / root } }
    return x.indices.map { x[$0] / root * weight[$0] }
  }
}

func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
func silu(_ x: Double) -> Double { x * sigmoid(x) }
func softplus(_ x: Double) -> Double { log(1 + exp(x)) }
func unit(_ x: [Double]) -> [Double] {
  let length = (dot(x, x) + 1e-6).squareRoot()
  return x.map { $0 / length }
}

extension [Double] {
  /// Equal parts.
  func parts(_ count: Int) -> [[Double]] {
    let size = self.count / count
    return (0..<count).map { Array(self[$0 * size..<($0 + 1) * size]) }
  }

  /// Parts of these sizes.
  func split(_ sizes: Int...) -> [[Double]] {
    var start = 0
    return sizes.map { size in
      defer { start += size }
      return Array(self[start..<start + size])
    }
  }

  static func * (x: [Double], y: [Double]) -> [Double] { zip(x, y).map { $0 * $1 } }
}

/// A matrix state, k × v, token by token.
struct NaiveState {
  var rows: [[Double]]

  init(_ keys: Int, _ values: Int) {
    rows = Array(repeating: Array(repeating: 0, count: values), count: keys)
  }

  /// Row i times `factors[i]`.
  mutating func decay(_ factors: [Double]) {
    for i in rows.indices { rows[i] = rows[i].map { $0 * factors[i] } }
  }

  mutating func decay(_ factor: Double) { decay(rows.map { _ in factor }) }

  /// + k vᵀ
  mutating func write(_ key: [Double], _ value: [Double]) {
    for i in rows.indices { for j in value.indices { rows[i][j] += key[i] * value[j] } }
  }

  /// Sᵀ q
  func read(_ query: [Double]) -> [Double] {
    guard let first = rows.first else { return [] }
    return first.indices.map { j in rows.indices.reduce(0) { $0 + query[$1] * rows[$1][j] } }
  }
}
