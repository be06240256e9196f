import AttentionCLibrary

/// The printed form of a tensor: its elements in columns, the middle of long axes left out.
struct TensorText {
  /// Tensors with more elements are abbreviated.
  private static let threshold = 1000
  /// Indices shown at either end of an axis of an abbreviated tensor.
  private static let edge = 3
  private static let lineWidth = 80
  private static let gap = "..."

  private let extents: [Int]
  /// For each axis, whether indices are left out after the first ``edge``.
  private let isCut: [Bool]
  /// The elements shown, in row-major order, all of one width.
  private let cells: [String]

  /// Copies the elements shown, from a GPU too.
  init(_ tensor: Tensor) throws {
    var shown = tensor.detached()
    var isCut = [Bool](repeating: false, count: tensor.rank)
    if tensor.elementCount > Self.threshold {
      for axis in 0..<tensor.rank where tensor.shape[axis] > 2 * Self.edge {
        let end = tensor.shape[axis]
        shown = try .concatenated(
          [shown.sliced(axis, 0..<Self.edge), shown.sliced(axis, end - Self.edge..<end)], axis)
        isCut[axis] = true
      }
    }
    extents = shown.shape.dimensions
    self.isCut = isCut
    let texts = try Self.texts(of: shown)
    let width = texts.map(\.count).max() ?? 0
    cells = texts.map { String(repeating: " ", count: width - $0.count) + $0 }
  }

  /// The elements in brackets, one line per row.
  var lines: String { extents.contains(0) ? "[]" : block(0, 0, indent: 0) }

  /// The text of `axis` and those below it, starting with the cell `first`.
  private func block(_ axis: Int, _ first: Int, indent: Int) -> String {
    guard axis < extents.count else { return cells[first] }
    let size = extents[(axis + 1)...].reduce(1, *)
    var parts = (0..<extents[axis]).map { block(axis + 1, first + $0 * size, indent: indent + 1) }
    if isCut[axis] { parts.insert(Self.gap, at: Self.edge) }
    let margin = String(repeating: " ", count: indent + 1)
    if axis == extents.count - 1 { return "[" + row(parts, margin) + "]" }
    let lines = String(repeating: "\n", count: extents.count - 1 - axis)
    return "[" + parts.joined(separator: "," + lines + margin) + "]"
  }

  /// The cells of a row, wrapped to the line width.
  private func row(_ parts: [String], _ margin: String) -> String {
    var lines = [""]
    for (number, part) in parts.enumerated() {
      let text = number == parts.count - 1 ? part : part + ","
      let last = lines[lines.count - 1]
      if last.isEmpty {
        lines[lines.count - 1] = text
      } else if margin.count + last.count + 1 + text.count < Self.lineWidth {
        lines[lines.count - 1] = last + " " + text
      } else {
        lines.append(text)
      }
    }
    return lines.joined(separator: "\n" + margin)
  }

  private static func texts(of tensor: Tensor) throws -> [String] {
    switch tensor.dtype {
    case .bool: return try tensor.elements(as: Bool.self).map { $0 ? "true" : "false" }
    case .int32, .int64: return try tensor.elements(as: Int64.self).map(String.init)
    case .float32, .float64, .bfloat16, .float16:
      let values = try tensor.elements(as: Double.self)
      let form = form(of: values)
      return values.map { text($0, form) }
    }
  }

  /// The format of all numbers of a tensor: one digit after the point if they are integers, otherwise four,
  /// and an exponent where four digits would hide their values.
  private static func form(of values: [Double]) -> String {
    let sizes = values.filter { $0.isFinite && $0 != 0 }.map(\.magnitude)
    guard let largest = sizes.max(), let smallest = sizes.min() else { return "%.1f" }
    let areWhole = sizes.allSatisfy { $0 == $0.rounded() }
    let (most, least, span) = (1e8, 1e-4, 1e3)
    if largest >= most || (!areWhole && (smallest < least || largest / smallest > span)) {
      return "%.4e"
    }
    return areWhole ? "%.1f" : "%.4f"
  }

  private static func text(_ value: Double, _ form: String) -> String {
    guard value.isFinite else { return value.isNaN ? "nan" : value < 0 ? "-inf" : "inf" }
    // Longer than any number within the limits of `form`.
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { place in
      let length = withVaList([value]) { vsnprintf(place.baseAddress, place.count, form, $0) }
      return String(
        decoding: place.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
  }
}

extension Tensor: CustomStringConvertible {
  /// The tensor's type, shape and device with its elements, such as
  ///
  ///     Tensor(float32 [2, 3] on cpu)
  ///     [[1.0000, 2.5000, 3.0000],
  ///      [4.0000,    nan,   -inf]]
  ///
  /// Integers have one digit after the point, other numbers four, or an exponent if magnitudes differ by
  /// more than a factor of a thousand. Of more than 1000 elements, the first and last three of each axis are
  /// shown. Waits for a GPU's pending work and copies the elements shown.
  public var description: String {
    let elements =
      switch Result(catching: { try TensorText(self).lines }) {
      case .success(let lines): lines
      case .failure(let error): "elements cannot be read: \(error)"
      }
    return "Tensor(\(dtype.rawValue) \(shape) on \(device))\n" + elements
  }

  /// The tensor's type and shape without its elements: `Tensor(float32 [2, 3])`.
  public var summary: String { "Tensor(\(dtype.rawValue) \(shape))" }
}
