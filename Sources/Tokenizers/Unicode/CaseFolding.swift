/// Letters that differ in case only.
enum CaseFolding {
  /// What each scalar with another lowercase form has for one; most often a single scalar.
  static let lowercase: [UInt32: [UInt32]] = {
    var mappings: [UInt32: [UInt32]] = [:]
    // Letters, and the numbers and symbols that have cases: Ⅳ and Ⓐ.
    let cased = ["Lu", "Lt", "Nl", "So"].flatMap { ScalarSet.category($0)?.ranges ?? [] }
    for value in cased.joined() {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let lower = scalar.properties.lowercaseMapping.unicodeScalars.map(\.value)
      if lower != [value] { mappings[value] = lower }
    }
    return mappings
  }()

  /// Scalars by what they are equal to when case is ignored; the two that Latin letters have outside of Latin-1
  /// are the long s and the Kelvin sign.
  private static let classes: [UInt32: [UInt32]] = {
    var classes: [UInt32: [UInt32]] = [:]
    for (upper, lower) in lowercase where lower.count == 1 {
      classes[lower[0], default: []].append(upper)
    }
    classes[0x73, default: []].append(0x17F)
    return classes
  }()

  /// `set` and all that differs from a member in case only.
  static func closed(_ set: ScalarSet) -> ScalarSet {
    var added: [ClosedRange<UInt32>] = []
    for (lower, others) in classes {
      let all = others + [lower]
      if all.contains(where: set.contains) { added += all.map { $0...$0 } }
    }
    return ScalarSet(set.ranges + added)
  }
}
