/// Numbers with units, short enough for a table.
package enum Quantity {
  /// Such as `12.3 µs`.
  package static func seconds(_ value: Double) -> String {
    switch value {
    case ..<1e-3: digits(value * 1e6) + " µs"
    case ..<1: digits(value * 1e3) + " ms"
    default: digits(value) + " s"
    }
  }

  /// Such as `1.5 MiB`.
  package static func bytes(_ value: Int) -> String {
    var amount = Double(value)
    for unit in ["B", "KiB", "MiB", "GiB"] {
      if abs(amount) < 1024 { return (unit == "B" ? "\(value)" : digits(amount)) + " " + unit }
      amount /= 1024
    }
    return digits(amount) + " TiB"
  }

  /// Three significant digits.
  package static func digits(_ value: Double) -> String {
    switch abs(value) {
    case 0: "0"
    case ..<10: value.text(digits: 2)
    case ..<100: value.text(digits: 1)
    default: value.text(digits: 0)
    }
  }
}
