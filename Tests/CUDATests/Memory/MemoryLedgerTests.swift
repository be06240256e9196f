import Testing

@testable import AttentionCUDA

@Suite struct MemoryLedgerTests {
  @Test func countsWhatIsHeld() throws {
    let ledger = MemoryLedger(device: "cuda:0")
    let first = try ledger.hold("weights", bytes: 100)
    let second = try ledger.hold("scores", bytes: 50)
    ledger.release(first)
    #expect(ledger.heldBytes == 50 && ledger.peakBytes == 150)
    ledger.release(second)
    ledger.release(second)
    #expect(ledger.heldBytes == 0)
  }

  @Test func theCapNamesWhatIsHeld() throws {
    let ledger = MemoryLedger(device: "cuda:1")
    ledger.cap = 1000
    for index in 1...7 { _ = try ledger.hold("tensor \(index)", bytes: index * 10) }
    let error = #expect(throws: CUDAError.self) { try ledger.hold("scores", bytes: 721) }
    let message = try #require(error?.description)
    for words in [
      "cuda:1", "721", "scores", "280 held", "cap of 1000",
      "tensor 7 70, tensor 6 60, tensor 5 50, tensor 4 40, tensor 3 30",
    ] { #expect(message.contains(words), "\(message)") }
    #expect(!message.contains("tensor 2"))
    _ = try ledger.hold("fits", bytes: 720)
  }

  @Test func aRefusedRequestIsNotHeld() throws {
    let ledger = MemoryLedger(device: "cuda:0")
    _ = try ledger.hold("weights", bytes: 10)
    let number = try ledger.hold("scores", bytes: 500)
    let report = ledger.refusal(number, deviceBytes: 400)
    #expect(report.requestedBytes == 500 && report.heldBytes == 10 && !report.isCap)
    #expect(report.description.contains("scores") && report.description.contains("weights 10"))
    #expect(ledger.heldBytes == 10)
  }
}
