import FoundationEssentials
import Testing

@testable import AttentionTraining

@Suite struct LossCurveTests {
  private func curve(points: Int) -> LossCurve {
    LossCurve(
      training: (1...max(1, points)).map {
        LossCurve.Point(step: $0 * 10, bitsPerByte: 2 + 6 / Double($0))
      },
      validation: [
        LossCurve.Point(step: 10, bitsPerByte: 7.5),
        LossCurve.Point(step: points * 10, bitsPerByte: 2.345),
      ])
  }

  /// The attributes and names of elements, if tags are balanced and attributes quoted.
  private func elements(of svg: String) throws -> [String] {
    var open: [String] = []
    var all: [String] = []
    var rest = Substring(svg)
    while let start = rest.firstIndex(of: "<") {
      let tail = rest[rest.index(after: start)...]
      let end = try #require(tail.firstIndex(of: ">"), "a tag is not closed")
      let tag = String(tail[..<end])
      rest = tail[tail.index(after: end)...]
      if tag.hasPrefix("/") {
        #expect(open.popLast() == String(tag.dropFirst()))
      } else {
        #expect(tag.filter { $0 == "\"" }.count % 2 == 0, "\(tag)")
        all.append(tag)
        if !tag.hasSuffix("/") { open.append(String(tag.split(separator: " ")[0])) }
      }
    }
    #expect(open.isEmpty)
    return all
  }

  @Test(arguments: [1, 2, 50, 5000])
  func pictureIsWellFormedAndInsideItsFrame(points: Int) throws {
    let svg = curve(points: points).svg(title: "a < b & \"c\" > d")
    let elements = try elements(of: svg)
    #expect(svg.contains("<title>a &lt; b &amp; \"c\" &gt; d</title>"))
    let lines = elements.filter { $0.hasPrefix("polyline") }
    #expect(lines.count == 2)
    let box = /<rect class="data" x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)" height="([0-9.]+)"/
    let frame = try #require(svg.firstMatch(of: box)?.output)
    let left = try #require(Double(frame.1))
    let top = try #require(Double(frame.2))
    let right = try #require(Double(frame.3)) + left
    let floor = try #require(Double(frame.4)) + top
    for line in lines {
      let list = try #require(line.split(separator: "points=\"").last).prefix { $0 != "\"" }
      let pairs = list.split(separator: " ").map {
        $0.split(separator: ",").compactMap { Double($0) }
      }
      #expect(pairs.count <= 760)
      for pair in pairs {
        try #require(pair.count == 2)
        #expect((left...right).contains(pair[0]), "\(pair)")
        #expect((top...floor).contains(pair[1]), "\(pair)")
      }
    }
    #expect(elements.contains { $0.hasPrefix("path class=\"mark1 colour1\"") })
    #expect(svg.contains("prefers-color-scheme: dark"))
    #expect(svg.contains("validation 2.345"))
  }

  @Test(arguments: [
    LossCurve(), LossCurve(training: [.init(step: 1, bitsPerByte: 3)]),
    LossCurve(validation: [.init(step: 3, bitsPerByte: 0)]),
    LossCurve(training: [.init(step: 1, bitsPerByte: 3), .init(step: 2, bitsPerByte: 3)]),
    LossCurve(training: [.init(step: 1, bitsPerByte: 1e9), .init(step: 2, bitsPerByte: 1e-9)]),
    LossCurve(training: [.init(step: 1, bitsPerByte: 1e20)]),
    LossCurve(training: [.init(step: 1, bitsPerByte: 5e14)]),
    LossCurve(training: [.init(step: 1, bitsPerByte: 3e38), .init(step: 2, bitsPerByte: 3e38)]),
    LossCurve(training: [.init(step: 1, bitsPerByte: -1e308), .init(step: 2, bitsPerByte: 1e308)]),
    LossCurve(training: (1...2000).map { .init(step: $0, bitsPerByte: 1e308) }),
    LossCurve(training: [.init(step: -5, bitsPerByte: 3), .init(step: .max, bitsPerByte: 3)]),
    LossCurve(validation: [.init(step: .min, bitsPerByte: .nan), .init(step: 2, bitsPerByte: 2)]),
  ])
  func curvesWithoutRangeHavePicturesToo(curve: LossCurve) throws {
    let svg = curve.svg(title: "Loss")
    #expect(!svg.contains("nan") && !svg.contains("inf"))
    #expect(try elements(of: svg).count > 3)
    let picture = curve.terminalPicture()
    #expect(picture.isEmpty == (curve.training.isEmpty && curve.validation.isEmpty))
  }

  @Test func terminalPictureHasItsSizeAndBothCurves() {
    let lines = curve(points: 80).terminalPicture(columns: 60, rows: 10).split(separator: "\n")
    #expect(lines.count == 13)
    #expect(lines.allSatisfy { $0.count <= 61 })
    #expect(lines.dropFirst().joined().filter { $0 == "◆" }.count == 2)
    #expect(lines.joined().unicodeScalars.contains { (0x2801...0x28FF).contains($0.value) })
    #expect(lines.last?.hasSuffix("step 800") == true)
  }

  @Test func thinningKeepsTheMean() {
    let points = (0..<1000).map { LossCurve.Point(step: $0, bitsPerByte: Double($0 % 10)) }
    let thin = LossCurve.thinned(points, to: 100)
    #expect(thin.count == 100)
    #expect(thin.allSatisfy { $0.bitsPerByte == 4.5 })
    #expect(LossCurve.thinned(points, to: 1000) == points)
  }

  @Test(arguments: [
    (0.0, 600.0, 8, true), (2.1, 8.0, 7, false), (0, 1, 8, true), (3, 3, 7, false),
    (0.0012, 0.0013, 5, false), (-5, 5, 4, false),
  ])
  func ticksAreRoundAndCoverTheRange(low: Double, high: Double, count: Int, whole: Bool) {
    let ticks = AxisTicks(from: low, to: high, count: count, wholeNumbers: whole)
    #expect(ticks.first <= low + 1e-9)
    #expect(ticks.last >= high - 1e-9)
    #expect((2...count + 3).contains(ticks.values.count))
    #expect(Set(ticks.values.map(ticks.label)).count == ticks.values.count)
  }
}
