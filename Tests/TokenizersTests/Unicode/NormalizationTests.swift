import AttentionTensors
import Testing

@testable import AttentionTokenizers

@Suite struct NormalizationTests {
  private func normalized(_ text: String, _ form: NormalizationForm) -> [Unicode.Scalar] {
    Array(String(decoding: form.normalized(Array(text.utf8)), as: UTF8.self).unicodeScalars)
  }

  /// Examples of the standard's annex 15.
  @Test(arguments: [
    ("\u{E9}", "e\u{301}", "\u{E9}"),
    ("\u{212B}", "A\u{30A}", "\u{C5}"),
    ("\u{1E69}", "s\u{323}\u{307}", "\u{1E69}"),
    ("s\u{307}\u{323}", "s\u{323}\u{307}", "\u{1E69}"),
    ("\u{1E0B}\u{323}", "d\u{323}\u{307}", "\u{1E0D}\u{307}"),
    ("\u{AC00}\u{11A8}", "\u{1100}\u{1161}\u{11A8}", "\u{AC01}"),
    ("\u{1100}\u{1161}", "\u{1100}\u{1161}", "\u{AC00}"),
    ("\u{D55C}", "\u{1112}\u{1161}\u{11AB}", "\u{D55C}"),
    ("\u{958}", "\u{915}\u{93C}", "\u{915}\u{93C}"),
    ("\u{344}", "\u{308}\u{301}", "\u{308}\u{301}"),
    ("a\u{5AE}\u{300}", "a\u{5AE}\u{300}", "\u{E0}\u{5AE}"),
    ("plain", "plain", "plain"), ("", "", ""),
  ])
  func canonicalForms(text: String, decomposed: String, composed: String) {
    #expect(normalized(text, .nfd) == Array(decomposed.unicodeScalars))
    #expect(normalized(text, .nfc) == Array(composed.unicodeScalars))
  }

  @Test(arguments: [
    ("\u{FB01}", "fi"), ("\u{B2}", "2"), ("\u{2460}", "1"), ("\u{FF21}", "A"), ("\u{33A5}", "m3"),
    ("\u{1E9B}\u{323}", "\u{1E69}"), ("\u{A0}", " "),
  ])
  func compatibleForms(text: String, composed: String) {
    #expect(normalized(text, .nfkc) == Array(composed.unicodeScalars))
  }

  /// Swift compares strings by canonical equivalence, from tables of its own.
  @Test func formsAreEquivalentToTheirText() {
    var generator = Philox(seed: 3)
    let marks: [UInt32] = [0x300, 0x301, 0x323, 0x327, 0x345, 0x5B0, 0x93C, 0x1161, 0x11A8, 0x3099]
    for _ in 0..<3000 {
      var text = String.UnicodeScalarView()
      for _ in 0..<1 + generator.next(below: 6) {
        let isMark = generator.next(below: 3) == 0
        let value =
          isMark
          ? marks[generator.next(below: marks.count)]
          : UInt32([0x250, 0x2000, 0x3100, 0x30000][generator.next(below: 4)])
            &+ UInt32(generator.next(below: 0x800))
        // Marks that Unicode has assigned since the version of our tables are left out.
        guard let scalar = Unicode.Scalar(value),
          NormalizationData.shared.combiningClass(value)
            == scalar.properties.canonicalCombiningClass.rawValue
        else { continue }
        text.append(scalar)
      }
      let string = String(text)
      let decomposed = normalized(string, .nfd)
      let composed = normalized(string, .nfc)
      #expect(String(String.UnicodeScalarView(decomposed)) == string)
      #expect(String(String.UnicodeScalarView(composed)) == string)
      #expect(normalized(String(String.UnicodeScalarView(composed)), .nfd) == decomposed)
      #expect(normalized(String(String.UnicodeScalarView(decomposed)), .nfc) == composed)
      let classes = decomposed.map { $0.properties.canonicalCombiningClass.rawValue }
      for (first, second) in zip(classes, classes.dropFirst()) where second > 0 {
        #expect(first <= second, "\(decomposed)")
      }
    }
  }

  /// Whatever Swift's tables say of scalars that ours know, but for the few whose category has changed since.
  @Test func categoriesAreThoseOfTheStandardLibrary() {
    let names: [Unicode.GeneralCategory: GeneralCategory] = [
      .uppercaseLetter: .lu, .lowercaseLetter: .ll, .titlecaseLetter: .lt, .modifierLetter: .lm,
      .otherLetter: .lo, .nonspacingMark: .mn, .spacingMark: .mc, .enclosingMark: .me,
      .decimalNumber: .nd, .letterNumber: .nl, .otherNumber: .no, .connectorPunctuation: .pc,
      .dashPunctuation: .pd, .openPunctuation: .ps, .closePunctuation: .pe,
      .initialPunctuation: .pi, .finalPunctuation: .pf, .otherPunctuation: .po, .mathSymbol: .sm,
      .currencySymbol: .sc, .modifierSymbol: .sk, .otherSymbol: .so, .spaceSeparator: .zs,
      .lineSeparator: .zl, .paragraphSeparator: .zp, .control: .cc, .format: .cf, .surrogate: .cs,
      .privateUse: .co, .unassigned: .cn,
    ]
    var different = 0
    for category in GeneralCategory.allCases where category != .cn && category != .cs {
      for value in category.scalars.ranges.joined() {
        guard let scalar = Unicode.Scalar(value) else { continue }
        if names[scalar.properties.generalCategory] != category { different += 1 }
      }
    }
    #expect(different < 10)
    let letters = ScalarTable(.letters)
    for value in stride(from: UInt32(0), to: 0x11_0000, by: 7) {
      #expect(letters.contains(value) == ScalarSet.letters.contains(value))
    }
  }

  @Test func setsObeyTheirAlgebra() {
    var generator = Philox(seed: 5)
    func random() -> ScalarSet {
      ScalarSet(
        (0..<generator.next(below: 5)).map { _ in
          let start = UInt32(generator.next(below: 300))
          return start...start + UInt32(generator.next(below: 40))
        })
    }
    for _ in 0..<300 {
      let (a, b) = (random(), random())
      for value in UInt32(0)..<350 {
        #expect(a.union(b).contains(value) == (a.contains(value) || b.contains(value)))
        #expect(a.intersection(b).contains(value) == (a.contains(value) && b.contains(value)))
        #expect(a.subtracting(b).contains(value) == (a.contains(value) && !b.contains(value)))
      }
      #expect(a.inverted.inverted == a)
      #expect(ScalarTable(a).contains(5) == a.contains(5))
    }
  }
}
