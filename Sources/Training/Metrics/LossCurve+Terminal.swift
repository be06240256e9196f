extension LossCurve {
  /// The curve drawn in text: training as a line of braille dots, validation as diamonds.
  ///
  /// - Parameters:
  ///   - columns: the width in characters, including labels.
  ///   - rows: the height in lines, without the two lines of the horizontal axis.
  public func terminalPicture(columns: Int = 72, rows: Int = 12) -> String {
    let points = training + validation
    let values = points.map(\.bitsPerByte)
    guard let low = values.min(), let high = values.max(), let last = points.map(\.step).max()
    else { return "" }
    let y = AxisTicks(from: low, to: high, count: 4)
    let labelWidth = y.values.map { y.label($0).count }.max() ?? 0
    var canvas = BrailleCanvas(columns: max(8, columns - labelWidth - 2), rows: max(2, rows))
    func place(_ point: Point) -> (x: Int, y: Int) {
      let across = Double(point.step) / Double(max(1, last))
      return (
        x: Self.place(across, of: canvas.width),
        y: canvas.height - 1 - Self.place(y.fraction(of: point.bitsPerByte), of: canvas.height)
      )
    }
    let line = Self.thinned(training, to: canvas.width).map(place)
    for (from, to) in zip(line, line.dropFirst()) { canvas.drawLine(from: from, to: to) }
    if let only = line.first, line.count == 1 { canvas.drawLine(from: only, to: only) }
    for point in validation { canvas.mark(place(point), with: "◆") }

    var labels: [Int: String] = [:]
    for value in y.values {
      let up = Self.place(y.fraction(of: value), of: canvas.height)
      labels[(canvas.height - 1 - up) / BrailleCanvas.dotsDown] = y.label(value)
    }
    var lines = ["bits per byte (line: training, ◆ validation)"]
    for (row, text) in canvas.lines.enumerated() {
      let label = labels[row] ?? ""
      let padding = String(repeating: " ", count: labelWidth - label.count)
      lines.append(padding + label + (label.isEmpty ? " │" : " ┤") + text)
    }
    let margin = String(repeating: " ", count: labelWidth + 1)
    lines.append(margin + "└" + String(repeating: "─", count: canvas.columns))
    let end = "step \(last)"
    lines.append(
      margin + " 0" + String(repeating: " ", count: max(1, canvas.columns - 1 - end.count)) + end)
    return lines.joined(separator: "\n")
  }

  /// The index, out of `count` dots, at a fraction of the axis.
  private static func place(_ fraction: Double, of count: Int) -> Int {
    Int((min(max(fraction, 0), 1) * Double(count - 1)).rounded())
  }
}

/// A raster of braille characters, each two dots wide and four high.
private struct BrailleCanvas {
  static let dotsAcross = 2
  static let dotsDown = 4
  /// The first of the 256 braille characters, the one without dots.
  private static let blank: UInt32 = 0x2800
  /// The bit of each dot, by row and column.
  private static let bits: [[UInt32]] = [
    [0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80],
  ]

  let columns: Int
  let rows: Int
  private var cells: [UInt32]
  private var marks: [Int: Character] = [:]

  init(columns: Int, rows: Int) {
    self.columns = columns
    self.rows = rows
    cells = Array(repeating: 0, count: columns * rows)
  }

  var width: Int { columns * Self.dotsAcross }
  var height: Int { rows * Self.dotsDown }

  private func cell(_ point: (x: Int, y: Int)) -> Int {
    point.y / Self.dotsDown * columns + point.x / Self.dotsAcross
  }

  mutating func drawLine(from: (x: Int, y: Int), to: (x: Int, y: Int)) {
    let count = max(abs(to.x - from.x), abs(to.y - from.y), 1)
    for i in 0...count {
      let point = (
        x: from.x + (to.x - from.x) * i / count, y: from.y + (to.y - from.y) * i / count
      )
      cells[cell(point)] |= Self.bits[point.y % Self.dotsDown][point.x % Self.dotsAcross]
    }
  }

  mutating func mark(_ point: (x: Int, y: Int), with character: Character) {
    marks[cell(point)] = character
  }

  var lines: [String] {
    (0..<rows).map { row in
      String(
        (0..<columns).map { column in
          let index = row * columns + column
          if let mark = marks[index] { return mark }
          let scalar = cells[index] == 0 ? nil : Unicode.Scalar(Self.blank + cells[index])
          return scalar.map(Character.init) ?? " "
        })
    }
  }
}
