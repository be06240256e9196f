import AttentionTensors

@testable import AttentionOperators

/// A float64 matrix with the operations in which papers write recurrences, each by its definition.
struct Matrix {
  var rows: [[Double]]

  static func zero(_ rows: Int, _ columns: Int) -> Matrix {
    Matrix(rows: Array(repeating: Array(repeating: 0, count: columns), count: rows))
  }

  static func diagonal(_ x: [Double]) -> Matrix {
    var matrix = zero(x.count, x.count)
    for i in x.indices { matrix.rows[i][i] = x[i] }
    return matrix
  }

  /// x yᵀ
  static func outer(_ x: [Double], _ y: [Double]) -> Matrix {
    Matrix(rows: x.map { a in y.map { a * $0 } })
  }

  static func + (a: Matrix, b: Matrix) -> Matrix {
    Matrix(rows: zip(a.rows, b.rows).map { zip($0, $1).map { $0 + $1 } })
  }

  static func - (a: Matrix, b: Matrix) -> Matrix {
    Matrix(rows: zip(a.rows, b.rows).map { zip($0, $1).map { $0 - $1 } })
  }

  static func * (factor: Double, a: Matrix) -> Matrix {
    Matrix(rows: a.rows.map { $0.map { factor * $0 } })
  }

  static func * (a: Matrix, b: Matrix) -> Matrix {
    Matrix(
      rows: a.rows.map { row in
        b.rows[0].indices.map { j in
          row.indices.reduce(0) { $0 + row[$1] * b.rows[$1][j] }
        }
      })
  }

  /// Aᵀ x
  func read(_ x: [Double]) -> [Double] {
    rows[0].indices.map { j in x.indices.reduce(0) { $0 + rows[$1][j] * x[$1] } }
  }
}

/// The rows of a [b, t, …, width] tensor in float64.
struct TokenArray {
  private let elements: [Double]
  private let shape: Shape

  init(_ tensor: Tensor) throws {
    elements = try tensor.elements(as: Double.self)
    shape = tensor.shape
  }

  /// The row at `place` of all axes but the last.
  func row(_ place: Int...) -> [Double] {
    let width = shape[shape.rank - 1]
    let index = zip(place, shape.dimensions).reduce(0) { $0 * $1.1 + $1.0 }
    return Array(elements[index * width..<(index + 1) * width])
  }

  /// The row divided by its norm.
  func unit(_ place: Int...) -> [Double] {
    let width = shape[shape.rank - 1]
    let index = zip(place, shape.dimensions).reduce(0) { $0 * $1.1 + $1.0 }
    let row = elements[index * width..<(index + 1) * width]
    let length = (row.reduce(1e-6) { $0 + $1 * $1 }).squareRoot()
    return row.map { $0 / length }
  }

  /// The number at `place` of all axes.
  func number(_ place: Int...) -> Double {
    elements[zip(place, shape.dimensions).reduce(0) { $0 * $1.1 + $1.0 }]
  }
}

/// Runs a recurrence of states [k, v] token by token.
///
/// - Parameters:
///   - shape: [b, t, hv, v], of the output.
///   - keyDimension: k.
///   - initialState: [b, hv, k, v], or nil for zero.
///   - step: advances the state of a row and value head by a token and returns the token's output.
/// - Returns: the output, and the final state [b, hv, k, v].
func naiveRecurrence(
  _ shape: Shape, keyDimension: Int, initialState: Tensor? = nil,
  step: (_ row: Int, _ token: Int, _ head: Int, _ state: inout Matrix) -> [Double]
) throws -> LinearOutputs {
  let (batch, length, heads, v) = (shape[0], shape[1], shape[2], shape[3])
  let initial = try initialState.map { try TokenArray($0) }
  var output = [Double](repeating: 0, count: shape.elementCount)
  var final: [Double] = []
  for row in 0..<batch {
    for head in 0..<heads {
      var state = Matrix.zero(keyDimension, v)
      if let initial {
        state.rows = (0..<keyDimension).map { initial.row(row, head, $0) }
      }
      for token in 0..<length {
        let start = ((row * length + token) * heads + head) * v
        output.replaceSubrange(start..<start + v, with: step(row, token, head, &state))
      }
      final += state.rows.flatMap { $0 }
    }
  }
  return LinearOutputs(
    output: try Tensor(output, shape),
    finalState: try Tensor(final, [batch, heads, keyDimension, v]))
}
