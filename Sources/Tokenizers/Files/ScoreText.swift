/// Numbers as Hugging Face's `tokenizers` reads them.
///
/// Its reader rounds twice: the digits to a `Double`, and that number divided by a power of ten. The last bit of a score
/// can so differ from the nearest number, which decides between equally likely tokens.
enum ScoreText {
  private static let powers: [Double] = (0...308).map { Double("1e\($0)") ?? .infinity }

  /// The value of a number in JSON; what is not in its plain form is rounded once.
  static func number(_ text: ArraySlice<UInt8>) -> Double {
    var digits: UInt64 = 0
    var exponent = 0
    var isFraction = false
    var isFull = false
    var rest = text
    let isNegative = rest.first == UInt8(ascii: "-")
    if isNegative { rest.removeFirst() }
    while let byte = rest.first {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"):
        let (tens, isTooLarge) = digits.multipliedReportingOverflow(by: 10)
        let (sum, overflows) = tens.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
        isFull = isFull || isTooLarge || overflows
        // Digits beyond 64 bits are left out.
        if isFull {
          if !isFraction { exponent += 1 }
        } else {
          digits = sum
          if isFraction { exponent -= 1 }
        }
      case UInt8(ascii: "."): isFraction = true
      case UInt8(ascii: "e"), UInt8(ascii: "E"):
        let sign = rest.dropFirst().first == UInt8(ascii: "+") ? 2 : 1
        let written = Int(String(decoding: rest.dropFirst(sign), as: UTF8.self)) ?? 0
        exponent += min(max(written, -10_000), 10_000)
        rest = rest.suffix(1)
      default: return Double(String(decoding: text, as: UTF8.self)) ?? .nan
      }
      rest.removeFirst()
    }
    var value = Double(digits)
    while exponent < -308, value != 0 {
      value /= powers[308]
      exponent += 308
    }
    value = exponent < 0 ? value / powers[min(-exponent, 308)] : value * powers[min(exponent, 308)]
    return isNegative ? -value : value
  }
}
