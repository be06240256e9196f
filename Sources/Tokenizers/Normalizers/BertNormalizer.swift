/// What BERT (Devlin et al. 2019) does to text: control characters away, spaces around Chinese characters, lowercase
/// letters without accents.
struct BertNormalizer: Sendable {
  let cleansText: Bool
  let separatesChinese: Bool
  let stripsAccents: Bool
  let lowercases: Bool

  private static let whitespace = ScalarTable(.whitespace)
  private static let nonspacing = ScalarTable(.nonspacingMarks)
  private static let controls = ScalarTable(
    ScalarSet(["Cc", "Cf", "Cs", "Co"].flatMap { ScalarSet.category($0)?.ranges ?? [] }))
  /// The blocks of unified and of compatibility ideographs.
  private static let chinese = ScalarTable(
    ScalarSet([
      0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0x20000...0x2A6DF, 0x2A700...0x2B81F,
      0x2B920...0x2CEAF, 0x2F800...0x2FA1F,
    ]))

  func apply(_ text: inout [UInt8]) {
    if cleansText {
      text = Normalizer.mapped(text) { scalar, result in
        switch scalar {
        case 0x09, 0x0A, 0x0D: result.append(0x20)
        case 0, 0xFFFD: break
        case _ where Self.controls.contains(scalar): break
        default: result.append(scalar: Self.whitespace.contains(scalar) ? 0x20 : scalar)
        }
      }
    }
    if separatesChinese {
      text = Normalizer.mapped(text) { scalar, result in
        let isChinese = Self.chinese.contains(scalar)
        if isChinese { result.append(0x20) }
        result.append(scalar: scalar)
        if isChinese { result.append(0x20) }
      }
    }
    if stripsAccents {
      text = Normalizer.removing(Self.nonspacing, from: NormalizationForm.nfd.normalized(text))
    }
    if lowercases { text = Normalizer.lowercased(text) }
  }
}
