/// The general category of a Unicode scalar, in the order of ``UnicodeTables/categories``.
enum GeneralCategory: Int, CaseIterable {
  case lu, ll, lt, lm, lo, mn, mc, me, nd, nl, no, pc, pd, ps, pe, pi, pf, po, sm, sc, sk, so
  case zs, zl, zp, cc, cf, cs, co, cn

  /// The short name as of the standard: `Lu`.
  var name: String {
    let letters = "\(self)"
    return letters.prefix(1).uppercased() + letters.dropFirst()
  }

  /// The scalars of each category.
  static let sets: [ScalarSet] = {
    var ranges = [[ClosedRange<UInt32>]](repeating: [], count: allCases.count)
    UnicodeTableReader.runs(of: UnicodeTables.categories) { ranges[$1].append($0) }
    return ranges.map(ScalarSet.init)
  }()

  var scalars: ScalarSet { Self.sets[rawValue] }
}

extension ScalarSet {
  /// The scalars of all categories whose short name starts with `prefix`: `L` for letters, `Lu` for capital ones.
  static func category(_ prefix: String) -> ScalarSet? {
    let categories = GeneralCategory.allCases.filter { $0.name.hasPrefix(prefix) }
    guard !categories.isEmpty, !prefix.isEmpty else { return nil }
    return ScalarSet(categories.flatMap { $0.scalars.ranges })
  }

  private static func categories(_ prefixes: String...) -> ScalarSet {
    ScalarSet(prefixes.flatMap { category($0)?.ranges ?? [] })
  }

  static let letters = categories("L")
  static let numbers = categories("N")
  static let decimalDigits = categories("Nd")
  static let punctuation = categories("P")
  static let marks = categories("M")
  static let nonspacingMarks = categories("Mn")

  /// The property `White_Space`.
  static let whitespace = ScalarSet([
    0x09...0x0D, 0x20...0x20, 0x85...0x85, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A,
    0x2028...0x2029, 0x202F...0x202F, 0x205F...0x205F, 0x3000...0x3000,
  ])

  /// The property `Alphabetic`, so far as the categories give it, and the letters in circles and squares.
  private static let alphabetic = categories("L", "Nl").union(
    ScalarSet([0x24B6...0x24E9, 0x1F130...0x1F149, 0x1F150...0x1F169, 0x1F170...0x1F189]))

  /// What `\w` is in Rust's regular expressions (Unicode technical standard 18, annex C).
  static let words = alphabetic.union(categories("M", "Nd", "Pc")).union(
    ScalarSet([0x200C...0x200D]))

  /// What `\w` is in Oniguruma: without the joiners, with Latin-1's fractions and raised digits.
  static let onigurumaWords = words.subtracting(ScalarSet([0x200C...0x200D])).union(
    ScalarSet([0xB2...0xB3, 0xB9...0xB9, 0xBC...0xBE]))
}

/// Scripts by name and by code.
enum UnicodeScript {
  /// The number of each script, by its name and by its code of four letters.
  static let numbers: [String: Int] = {
    var numbers: [String: Int] = [:]
    for table in [UnicodeTables.scriptNames, UnicodeTables.scriptCodes] {
      for (number, name) in UnicodeTableReader.words(of: table).enumerated() {
        numbers[name] = number
      }
    }
    return numbers
  }()

  private static let sets: [ScalarSet] = {
    var ranges = [[ClosedRange<UInt32>]](repeating: [], count: numbers.values.count)
    UnicodeTableReader.runs(of: UnicodeTables.scripts) { ranges[$1].append($0) }
    return ranges.map(ScalarSet.init)
  }()

  /// The scalars of a script; nil if there is none of this name.
  static func scalars(_ name: String) -> ScalarSet? { numbers[name].map { sets[$0] } }

  /// The name of the script of each run of scalars, in their order.
  static let runs: [(scalars: ClosedRange<UInt32>, name: String)] = {
    let names = UnicodeTableReader.words(of: UnicodeTables.scriptNames)
    var runs: [(scalars: ClosedRange<UInt32>, name: String)] = []
    UnicodeTableReader.runs(of: UnicodeTables.scripts) { runs.append(($0, names[$1])) }
    return runs
  }()
}
