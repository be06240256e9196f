import Glibc

/// Numbers with units, short enough for a table.
enum Quantity {
  /// As `12.3 µs`.
  static func seconds(_ value: Double) -> String {
    switch value {
    case ..<1e-3: digits(value * 1e6) + " µs"
    case ..<1: digits(value * 1e3) + " ms"
    default: digits(value) + " s"
    }
  }

  /// As `1.5 MiB`.
  static func bytes(_ value: Int) -> String {
    var amount = Double(value)
    for unit in ["B", "KiB", "MiB", "GiB"] {
      if abs(amount) < 1024 { return (unit == "B" ? "\(value)" : digits(amount)) + " " + unit }
      amount /= 1024
    }
    return digits(amount) + " TiB"
  }

  /// Three significant digits.
  static func digits(_ value: Double) -> String {
    guard value.isFinite else { return "\(value)" }
    switch abs(value) {
    case 0: return "0"
    case ..<10: return fixed(value, 2)
    case ..<100: return fixed(value, 1)
    default: return fixed(value, 0)
    }
  }

  /// `value` with so many places after the point.
  static func fixed(_ value: Double, _ places: Int) -> String {
    let scale = pow(10, Double(places))
    let scaled = (abs(value) * scale).rounded()
    guard scaled < 0x1p53 else { return "\(value)" }
    let whole = Int64(scaled)
    let unit = Int64(scale)
    let fraction = String(whole % unit)
    let sign = value < 0 && whole > 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(whole)" }
    let zeros = String(repeating: "0", count: max(0, places - fraction.count))
    return "\(sign)\(whole / unit).\(zeros)\(fraction)"
  }
}
