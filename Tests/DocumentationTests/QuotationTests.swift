import FoundationEssentials
import Testing

/// Every piece of Swift in the documentation is part of a program of this target, which is compiled and run.
@Suite struct QuotationTests {
  private static let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
  private static let programs = root + "/Tests/DocumentationTests/Programs"

  private static func files(_ folder: String, _ ending: String) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: folder)
      .filter { $0.hasSuffix(ending) }.sorted().map { folder + "/" + $0 }
  }

  private static func lines(_ path: String) throws -> [String] {
    let text = String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
    return text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
  }

  /// The modules' documentation pages and the README.
  private static var pages: [String] {
    get throws {
      let pages = try files(root + "/Sources", ".md").filter { $0.contains(".docc/") }
      return pages + [root + "/README.md"]
    }
  }

  /// The fenced pieces of Swift of a page, each with its first line's number.
  private static func pieces(of page: String) throws -> [Piece] {
    var pieces: [Piece] = []
    var piece: Piece?
    for (number, line) in try lines(page).enumerated() {
      if line.hasPrefix("```") {
        if let complete = piece { pieces.append(complete) }
        let begins = piece == nil && line == "```swift"
        piece = begins ? Piece(line: number + 1, code: []) : nil
      } else {
        piece?.code.append(line)
      }
    }
    return pieces
  }

  private struct Piece {
    let line: Int
    var code: [String]
  }

  /// Whether `piece` is part of `program`, indented by a constant distance.
  private static func contains(_ program: [String], _ piece: [String]) -> Bool {
    guard let first = piece.first, piece.count <= program.count else { return false }
    return (0...program.count - piece.count).contains { start in
      guard program[start].hasSuffix(first) else { return false }
      let margin = program[start].dropLast(first.count)
      return margin.allSatisfy { $0 == " " }
        && zip(program[start...], piece).allSatisfy { line, quoted in
          line == (quoted.isEmpty ? "" : margin + quoted)
        }
    }
  }

  @Test func piecesOfSwiftAreCompiled() throws {
    let programs = try Self.files(Self.programs, ".swift").map { try Self.lines($0) }
    var count = 0
    for page in try Self.pages {
      for piece in try Self.pieces(of: page) {
        count += 1
        // A page's imports are above its program.
        let code = piece.code.drop { $0.hasPrefix("import ") || $0.isEmpty }
        guard !code.isEmpty else { continue }
        let isQuoted = programs.contains { Self.contains($0, Array(code)) }
        #expect(isQuoted, "\(page):\(piece.line) is in no program of \(Self.programs)")
      }
    }
    #expect(count >= 25)
  }

  @Test func modulesThatAPageImportsAreItsProgramsToo() throws {
    for page in try Self.pages {
      guard let name = page.split(separator: "/").last?.dropLast(".md".count),
        let program = try? Self.lines("\(Self.programs)/\(name).swift")
      else { continue }
      let imported = try Self.pieces(of: page).flatMap(\.code).filter { $0.hasPrefix("import ") }
      #expect(!imported.isEmpty, "\(page) does not say what to import")
      for line in imported {
        #expect(program.contains { $0.hasSuffix(line) }, "\(page): \(line)")
      }
    }
  }

  @Test func everyProgramHasAPage() throws {
    let names = try Set(Self.pages.map { $0.split(separator: "/").last.map(String.init) ?? "" })
    for program in try Self.files(Self.programs, ".swift") {
      let name = program.split(separator: "/").last?.dropLast(".swift".count) ?? ""
      #expect(name == "LandingPages" || names.contains(name + ".md"), "\(program)")
    }
  }
}
