import AttentionTensors
import Testing

@testable import AttentionCommand

@Suite struct TextTableTests {
  @Test func columnsLineUp() {
    var table = TextTable(["name": .left, "size": .right])
    table.append(["a", "1"])
    table.append(["long name", "12345"])
    #expect(
      table.lines() == ["name        size", "a              1", "long name  12345"])
  }

  @Test func theLastColumnWrapsBetweenWords() {
    var table = TextTable(["kernel": .left, "objection": .left])
    table.append(["cpu.one", "its score matrices need more memory than there is"])
    table.append(["cpu.two", ""])
    let lines = table.lines(width: 30)
    #expect(lines.allSatisfy { $0.count <= 30 && $0.last != " " })
    #expect(
      lines == [
        "kernel   objection", "cpu.one  its score matrices",
        "         need more memory than", "         there is", "cpu.two",
      ])
  }

  @Test(arguments: [
    (0.0, "0 µs"), (1.5e-6, "1.50 µs"), (99e-6, "99.0 µs"), (0.25, "250 ms"), (12.34, "12.3 s"),
  ])
  func seconds(value: Double, text: String) { #expect(Quantity.seconds(value) == text) }

  @Test(arguments: [
    (0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (256 << 20, "256 MiB"),
    (5 << 40, "5.00 TiB"),
  ])
  func bytes(value: Int, text: String) { #expect(Quantity.bytes(value) == text) }
}
