extension Double {
  /// The number with a fixed number of digits after the point: 2.5 with two digits is `2.50`.
  package func text(digits: Int) -> String {
    guard isFinite, magnitude < 1e15 else { return "\(self)" }
    let scale = (0..<digits).reduce(1.0) { power, _ in power * 10 }
    // Beyond the precision of a double.
    guard max(1, magnitude) * scale < 1e18 else { return "\(self)" }
    let scaled = Int((magnitude * scale).rounded())
    let sign = self < 0 && scaled > 0 ? "-" : ""
    guard digits > 0 else { return sign + "\(scaled)" }
    let (whole, rest) = scaled.quotientAndRemainder(dividingBy: Int(scale))
    let fraction = String(rest)
    return sign + "\(whole)." + String(repeating: "0", count: digits - fraction.count)
      + fraction
  }

  /// A count with a unit prefix and three digits: `950`, `12.3k`, `4.56M`.
  package var shortText: String {
    var value = self
    var prefix = ""
    for next in ["k", "M", "G", "T"] where value.magnitude >= 999.5 {
      value /= 1000
      prefix = next
    }
    let digits = prefix.isEmpty || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
    return value.text(digits: digits) + prefix
  }
}

extension Duration {
  /// The duration in seconds.
  package var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }

  /// Minutes and seconds, with hours if there are any: `1:05`, `2:00:41`.
  package var clockText: String {
    let total = max(0, Int(seconds.rounded()))
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let (hours, minutes, rest) = (total / 3600, total / 60 % 60, total % 60)
    return hours > 0 ? "\(hours):\(two(minutes)):\(two(rest))" : "\(minutes):\(two(rest))"
  }
}

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
