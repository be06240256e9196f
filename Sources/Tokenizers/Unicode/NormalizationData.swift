/// Decompositions, compositions and combining classes, made of ``UnicodeTables`` once.
struct NormalizationData: Sendable {
  static let shared = NormalizationData()

  /// Hangul syllables are composed by arithmetic (the standard, section 3.12).
  private enum Hangul {
    static let syllables: UInt32 = 0xAC00
    static let leads: UInt32 = 0x1100
    static let vowels: UInt32 = 0x1161
    static let tails: UInt32 = 0x11A7
    static let leadCount: UInt32 = 19
    static let vowelCount: UInt32 = 21
    static let tailCount: UInt32 = 28
    static let count = leadCount * vowelCount * tailCount
  }

  /// The whole canonical decomposition of the scalars that have one, sorted below their first mark.
  private var canonical: [UInt32: [UInt32]] = [:]
  private var compatible: [UInt32: [UInt32]] = [:]
  /// What two scalars are composed to.
  private var compositions: [UInt64: UInt32] = [:]
  /// The combining classes above 0.
  private let classes: [UInt32: UInt8]
  /// The scalars with a decomposition or a combining class.
  private let special: ScalarTable

  private init() {
    var raw: [(scalar: UInt32, isCanonical: Bool, mapping: [UInt32])] = []
    var reader = UnicodeTableReader(UnicodeTables.decompositions)
    var scalar: UInt32 = 0
    while let distance = reader.next(), let kind = reader.next(), let length = reader.next() {
      scalar += UInt32(distance)
      let mapping = (0..<length).map { _ in UInt32(reader.next() ?? 0) }
      raw.append((scalar, kind > 0, mapping))
      if kind == 2, length == 2 {
        compositions[UInt64(mapping[0]) << 32 | UInt64(mapping[1])] = scalar
      }
    }
    let mappings = Dictionary(uniqueKeysWithValues: raw.map { ($0.scalar, $0) })
    func whole(_ scalar: UInt32, isCompatible: Bool) -> [UInt32] {
      guard let entry = mappings[scalar], entry.isCanonical || isCompatible else { return [scalar] }
      return entry.mapping.flatMap { whole($0, isCompatible: isCompatible) }
    }
    var members: [ClosedRange<UInt32>] = []
    for entry in raw {
      if entry.isCanonical { canonical[entry.scalar] = whole(entry.scalar, isCompatible: false) }
      compatible[entry.scalar] = whole(entry.scalar, isCompatible: true)
      members.append(entry.scalar...entry.scalar)
    }
    var classes: [UInt32: UInt8] = [:]
    UnicodeTableReader.runs(of: UnicodeTables.combiningClasses) { scalars, value in
      guard value > 0 else { return }
      members.append(scalars)
      for scalar in scalars { classes[scalar] = UInt8(value) }
    }
    self.classes = classes
    special = ScalarTable(ScalarSet(members))
  }

  func combiningClass(_ scalar: UInt32) -> UInt8 {
    special.contains(scalar) ? classes[scalar] ?? 0 : 0
  }

  /// Appends the whole decomposition of a scalar, or itself.
  func appendDecomposition(of scalar: UInt32, isCompatible: Bool, to scalars: inout [UInt32]) {
    if scalar >= Hangul.syllables, scalar - Hangul.syllables < Hangul.count {
      let index = scalar - Hangul.syllables
      scalars.append(Hangul.leads + index / (Hangul.vowelCount * Hangul.tailCount))
      scalars.append(Hangul.vowels + index / Hangul.tailCount % Hangul.vowelCount)
      let tail = index % Hangul.tailCount
      if tail > 0 { scalars.append(Hangul.tails + tail) }
    } else if special.contains(scalar),
      let mapping = isCompatible ? compatible[scalar] : canonical[scalar]
    {
      scalars += mapping
    } else {
      scalars.append(scalar)
    }
  }

  /// Sorts each run of marks by combining class, equal ones in their order.
  func sortMarks(_ scalars: inout [UInt32]) {
    var start = 0
    while start < scalars.count {
      guard combiningClass(scalars[start]) > 0 else {
        start += 1
        continue
      }
      var end = start + 1
      while end < scalars.count, combiningClass(scalars[end]) > 0 { end += 1 }
      if end - start > 1 {
        // Sorting by class and place keeps the order of equal ones.
        let run = scalars[start..<end].enumerated().sorted {
          let (a, b) = (combiningClass($0.element), combiningClass($1.element))
          return a != b ? a < b : $0.offset < $1.offset
        }
        for (i, mark) in run.enumerated() { scalars[start + i] = mark.element }
      }
      start = end
    }
  }

  /// Composes each scalar with those that follow it, as far as nothing between them blocks it.
  func compose(_ scalars: inout [UInt32]) {
    var starter = -1
    var count = 0
    /// The class of the last mark that was kept after the starter; −1 if none was.
    var lastClass = -1
    for scalar in scalars {
      let markClass = Int(combiningClass(scalar))
      if starter >= 0, lastClass < markClass || lastClass == -1,
        let composed = composition(scalars[starter], scalar)
      {
        scalars[starter] = composed
        continue
      }
      if markClass == 0 {
        starter = count
        lastClass = -1
      } else {
        lastClass = markClass
      }
      scalars[count] = scalar
      count += 1
    }
    scalars.removeLast(scalars.count - count)
  }

  private func composition(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if first >= Hangul.leads, first < Hangul.leads + Hangul.leadCount, second >= Hangul.vowels,
      second < Hangul.vowels + Hangul.vowelCount
    {
      let index = (first - Hangul.leads) * Hangul.vowelCount + second - Hangul.vowels
      return Hangul.syllables + index * Hangul.tailCount
    }
    if first >= Hangul.syllables, first - Hangul.syllables < Hangul.count,
      (first - Hangul.syllables) % Hangul.tailCount == 0, second > Hangul.tails,
      second < Hangul.tails + Hangul.tailCount
    {
      return first + second - Hangul.tails
    }
    return compositions[UInt64(first) << 32 | UInt64(second)]
  }
}
