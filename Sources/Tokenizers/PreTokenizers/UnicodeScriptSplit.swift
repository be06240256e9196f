/// Cuts where the script changes. Hiragana and Katakana count as Han; a space, or a character of no script, belongs to
/// what is before it, and is left out at the beginning.
enum UnicodeScriptSplit {
  private static let any = "Any"
  private static let han = "Han"

  static func apply(_ pieces: inout Pieces) {
    var bounds: [UInt32] = []
    let old = pieces.bounds
    pieces.text.withUnsafeBufferPointer { text in
      for i in stride(from: 0, to: old.count, by: 2) {
        var place = Int(old[i])
        let end = old[i + 1]
        var last: String?
        while place < Int(end) {
          let length = text.lengthOfScalar(at: place)
          let script = script(of: text.scalar(at: place, length: length))
          if script != any, script != last {
            if last != nil { bounds.append(UInt32(place)) }
            bounds.append(UInt32(place))
            last = script
          }
          place += length
        }
        if last != nil { bounds.append(end) }
      }
    }
    pieces.startsText = pieces.startsText && bounds.first == old.first
    pieces.bounds = bounds
  }

  private static func script(of scalar: UInt32) -> String {
    if scalar == 0x20 { return any }
    // The long vowel mark of Hiragana and Katakana, which is common to both.
    if scalar == 0x30FC { return han }
    let runs = UnicodeScript.runs
    var (low, high) = (0, runs.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].scalars.upperBound < scalar { low = middle + 1 } else { high = middle }
    }
    return switch runs[low].name {
    case "Hiragana", "Katakana": han
    case "Unknown": any
    case let name: name
    }
  }
}
